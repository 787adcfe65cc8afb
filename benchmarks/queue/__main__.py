"""The command: python -m benchmarks.queue."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import machine
from benchmarks.harness.against import install_all
from benchmarks.harness.bench import QUICK as QUICK_SIZES
from benchmarks.harness.bench import Bench, Sizes
from benchmarks.harness.build import HERE, build_tools
from benchmarks.harness.command import (
    add_ours,
    advice,
    comma_separated,
    memory_folder,
    positive,
    run,
    words_for_ours,
)
from benchmarks.harness.errors import BenchmarkError
from benchmarks.harness.guard import TOLERANCE
from benchmarks.harness.peers import FLOOR, OURS, all_peers
from benchmarks.harness.progress import Progress
from benchmarks.harness.report import Section, as_json, document
from benchmarks.harness.stats import percentile

from . import size, speed
from .bench import QUICK, QueueBench, QueueSizes
from .peers import QueuePeer, earlier_queue, ours, queue_peers

SECTIONS: dict[str, Callable[[QueueBench], Section]] = {
    "throughput": speed.throughput,
    "books": speed.books,
    "submit": speed.submit,
    "bulk": speed.bulk,
    "grown": size.grown,
    "server": size.server,
    "published": speed.published,
}

EPILOG = """
examples:
  python -m benchmarks.queue                       all; writes benchmarks/QUEUE.md
  python -m benchmarks.queue --quick --peers none  a smoke test without peers; writes no file
  python -m benchmarks.queue --only books,submit   two sections
  python -m benchmarks.queue --only throughput --peers nq,hq --repeats 5

The exit status is 0 unless a command of ours failed (1), the usage is wrong (2), or nothing could
be measured (3). A missed target or a missing peer is no failure.
`make bench-peers` installs the peers.
"""


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m benchmarks.queue",
        description="Measures the durable queue (sgs submit, status, server) beside its peers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add(
        "--quick",
        action="store_true",
        help="small numbers: to see that all works, not to be trusted",
    )
    add(
        "--only",
        type=comma_separated(list(SECTIONS)),
        metavar="NAME,...",
        help=f"sections: {', '.join(SECTIONS)}",
    )
    add(
        "--peers",
        type=comma_separated(),
        metavar="NAME,...",
        help="only these beside the floor and ours; none: no others",
    )
    add(
        "--repeats",
        type=positive,
        metavar="N",
        help="repetitions (5; sections that take long: half)",
    )
    add("--json", type=Path, metavar="FILE", help="write all samples to FILE")
    add(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the report to FILE (QUEUE.md if all is measured)",
    )
    add_ours(result)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    return run(parser().parse_args(arguments), measure)


def measure(options: argparse.Namespace, progress: Progress) -> int:
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=memory_folder()) as scratch,
        tempfile.TemporaryDirectory(prefix="bench-") as disk,
    ):
        bench = set_up(options, progress, Path(scratch), Path(disk))
        names = options.only or list(SECTIONS)
        sections = [take(bench) for name, take in SECTIONS.items() if name in names]
        facts = all_facts(bench, options, Path(disk))
    progress.clear()
    text = document(facts, sections, "Benchmark results of the queue", "sgs")
    sys.stdout.write(text)
    partial = options.quick or options.only or options.peers or options.against
    output = options.output or (None if partial else HERE / "QUEUE.md")
    if output is not None:
        output.write_text(text)
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(facts, sections), indent=1) + "\n")
    for failure in bench.bench.failures:
        print(f"benchmarks: {failure}", file=sys.stderr)
    return 1 if bench.bench.failures else 0


def set_up(
    options: argparse.Namespace, progress: Progress, scratch: Path, disk: Path
) -> QueueBench:
    progress.show("building")
    tools = build_tools()
    sizes = QUICK_SIZES if options.quick else Sizes()
    if options.repeats:
        sizes = replace(sizes, repeats=options.repeats)
    folder = options.ours.absolute()
    pipes = [peer for peer in all_peers(tools, folder) if peer.key in (FLOOR, OURS)]
    pipes = [
        peer if peer.key == FLOOR else replace(peer, key="pipe", title="simple_gpu_scheduler")
        for peer in pipes
    ]
    bench = Bench(tools, folder, pipes, scratch, disk, sizes, False, progress)
    our_queue = ours(folder)
    return QueueBench(
        bench,
        our_queue,
        [our_queue, *map(earlier_queue, install_all(options.against)), *chosen(options.peers)],
        pipes,
        QUICK if options.quick else QueueSizes(),
    )


def chosen(names: list[str] | None) -> list[QueuePeer]:
    peers = queue_peers()
    if names is None:
        return peers
    unknown = set(names) - {peer.key for peer in peers} - {"none"}
    if unknown:
        known = ", ".join(peer.key for peer in peers)
        raise BenchmarkError(f"unknown peer {', '.join(sorted(unknown))}; one of {known}, none")
    return [peer for peer in peers if peer.key in names]


def all_facts(bench: QueueBench, options: argparse.Namespace, disk: Path) -> list[tuple[str, str]]:
    queues = [*bench.queues, *bench.pipes]
    versions = [f"{peer.key} {peer.version}" for peer in queues if peer.version]
    guard, sizes = bench.bench.guard, bench.bench.sizes
    tally = guard.tally
    return [
        *machine.facts(),
        ("Disk", sync_times(disk)),
        ("Versions", ", ".join(versions)),
        ("Made by", f"`{command_line(options)}`"),
        (
            "Figures",
            f"median (minimum..maximum) of {sizes.repeats} repetitions ({sizes.few_repeats} in "
            "slower sections, 1 of the queue as it grows)",
        ),
        ("Took", f"{bench.bench.progress.elapsed_s / 60:.1f} minutes"),
        (
            "Noise",
            f"{tally.measured} measurements; {tally.repeated} repeated since the floor ran below "
            f"{TOLERANCE:.0%} of {guard.reference:.0f} jobs/s before or after; "
            f"{tally.kept_disturbed} were kept though disturbed" + advice(tally),
        ),
    ]


def sync_times(folder: Path) -> str:
    """What it costs on this disk to be sure that something is kept."""
    times_ms = []
    with open(folder / "synced", "wb", buffering=0) as file:
        for _ in range(100):
            file.write(bytes(4096))
            began_s = time.perf_counter()
            os.fdatasync(file.fileno())
            times_ms.append((time.perf_counter() - began_s) * 1000)
    p50, p95 = percentile(times_ms, 50), percentile(times_ms, 95)
    return f"fdatasync after 4 KiB takes {p50:.2f} ms (p95 {p95:.2f})"


def command_line(options: argparse.Namespace) -> str:
    """The options that change what is measured; no paths of this machine."""
    words = ["python", "-m", "benchmarks.queue", *(["--quick"] if options.quick else [])]
    for name in ("only", "peers"):
        if getattr(options, name):
            words += [f"--{name}", ",".join(getattr(options, name))]
    if options.repeats:
        words += ["--repeats", str(options.repeats)]
    return shlex.join([*words, *words_for_ours(options)])


if __name__ == "__main__":
    sys.exit(main())
