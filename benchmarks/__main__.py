"""The command: python -m benchmarks."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from .harness import machine
from .harness.against import install_all
from .harness.bench import QUICK, Bench, Sizes
from .harness.build import HERE, build_tools
from .harness.command import (
    add_ours,
    advice,
    comma_separated,
    go_realtime,
    memory_folder,
    positive,
    run,
    words_for_ours,
)
from .harness.errors import BenchmarkError, RunFailed
from .harness.guard import TOLERANCE
from .harness.peers import FLOOR, OURS, Peer, all_peers, earlier_peer
from .harness.progress import Progress
from .harness.report import Section, as_json, document
from .pipe import figures as pipe
from .search import figures as search

SECTIONS: dict[str, Callable[[Bench], Section]] = {
    "throughput": pipe.throughput,
    "turnaround": pipe.turnaround,
    "backlog": pipe.backlog,
    "idle": pipe.idle,
    "startup": pipe.startup,
    "features": pipe.features,
    "grid": search.grid,
    "biggrid": search.big_grid,
}

EPILOG = """
examples:
  python -m benchmarks                          all; a few minutes; writes benchmarks/RESULTS.md
  python -m benchmarks --quick                  a smoke test of under a minute; writes no file
  python -m benchmarks --only throughput,idle   two sections
  python -m benchmarks --peers xargs --only turnaround --repeats 9
  python -m benchmarks --only startup --against v0.2 --against HEAD   before and after
  python -m benchmarks --json samples.json      every single sample too

The exit status is 0 unless a command of ours failed (1), the usage is wrong (2), or nothing could
be measured (3). A missed target or a missing peer is no failure.
`make bench-peers` installs the peers.
"""


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures scheduler and hyperparameter search side by side with their peers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    names = ", ".join(SECTIONS)
    add(
        "--quick",
        action="store_true",
        help="small numbers: to see that all works, not to be trusted",
    )
    add(
        "--only",
        type=comma_separated(list(SECTIONS)),
        metavar="NAME,...",
        help=f"sections: {names}",
    )
    add(
        "--peers",
        type=comma_separated(),
        metavar="NAME,...",
        help="only these beside the floor and ours",
    )
    add(
        "--repeats",
        type=positive,
        metavar="N",
        help="repetitions (5; sections that take long: half)",
    )
    add(
        "--full",
        action="store_true",
        help="also what takes minutes and GBs: 0.1.4 on the big grid",
    )
    add(
        "--realtime",
        action="store_true",
        help="run all of it under SCHED_RR (root; for a busy machine)",
    )
    add("--json", type=Path, metavar="FILE", help="write all samples to FILE")
    add(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the report to FILE (RESULTS.md if all is measured)",
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
        sections = run_sections(bench, options.only or default_sections(bench.sizes))
    progress.clear()
    facts = all_facts(bench, options)
    text = document(facts, sections)
    sys.stdout.write(text)
    output = options.output or (None if partial(options) else HERE / "RESULTS.md")
    if output is not None:
        output.write_text(text)
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(facts, sections), indent=1) + "\n")
    for failure in bench.failures:
        print(f"benchmarks: {failure}", file=sys.stderr)
    return 1 if bench.failures else 0


def partial(options: argparse.Namespace) -> bool:
    return bool(options.quick or options.only or options.peers or options.against)


def set_up(options: argparse.Namespace, progress: Progress, scratch: Path, disk: Path) -> Bench:
    progress.show("building")
    if options.realtime:
        go_realtime()
    tools = build_tools()
    sizes = QUICK if options.quick else Sizes()
    if options.repeats:
        sizes = replace(sizes, repeats=options.repeats)
    ours = options.ours.absolute()
    earlier = install_all(options.against)
    peers = chosen(all_peers(tools, ours), options.peers)
    peers[2:2] = map(earlier_peer, earlier)  # below the floor and ours
    bench = Bench(tools, ours, peers, scratch, disk, sizes, options.full, progress, earlier)
    warm_up(bench)
    return bench


def chosen(peers: list[Peer], names: list[str] | None) -> list[Peer]:
    if names is None:
        return peers
    unknown = set(names) - {peer.key for peer in peers}
    if unknown:
        known = ", ".join(peer.key for peer in peers)
        raise BenchmarkError(f"unknown peer {', '.join(sorted(unknown))}; one of {known}")
    return [peer for peer in peers if peer.key in (FLOOR, OURS, *names)]


def warm_up(bench: Bench) -> None:
    """Brings programs into memory. What fails here fails again where it is reported."""
    for peer in bench.peers:
        if peer.installed:
            bench.progress.show(f"warm-up: {peer.key}")
            try:
                bench.finish(peer, ["true"] * 20)
            except RunFailed:
                continue


def default_sections(sizes: Sizes) -> list[str]:
    return [name for name in SECTIONS if name != "biggrid" or sizes.big_grid]


def run_sections(bench: Bench, names: Sequence[str]) -> list[Section]:
    return [measure_section(bench) for name, measure_section in SECTIONS.items() if name in names]


def all_facts(bench: Bench, options: argparse.Namespace) -> list[tuple[str, str]]:
    versions = [f"{peer.key} {peer.version}" for peer in bench.peers if peer.version]
    tally = bench.guard.tally
    return [
        *machine.facts(),
        ("Versions", ", ".join(versions)),
        ("Made by", f"`{command_line(options)}`"),
        (
            "Figures",
            f"median (minimum..maximum) of {repetitions(bench.sizes)}",
        ),
        ("Took", f"{bench.progress.elapsed_s / 60:.1f} minutes"),
        (
            "Noise",
            f"{tally.measured} measurements; {tally.repeated} repeated since the floor ran below "
            f"{TOLERANCE:.0%} of {bench.guard.reference:.0f} jobs/s before or after; "
            f"{tally.kept_disturbed} were kept though disturbed" + advice(tally),
        ),
    ]


def repetitions(sizes: Sizes) -> str:
    few, usual = sizes.few_repeats, sizes.repeats
    return f"{usual} repetitions ({few} in slower sections, 1 for idle and the big grid)"


def command_line(options: argparse.Namespace) -> str:
    """The options that change what is measured; no paths of this machine."""
    words = ["python", "-m", "benchmarks"]
    words += [flag for flag in ("quick", "full", "realtime") if getattr(options, flag)]
    words[3:] = [f"--{word}" for word in words[3:]]
    for name in ("only", "peers"):
        if getattr(options, name):
            words += [f"--{name}", ",".join(getattr(options, name))]
    if options.repeats:
        words += ["--repeats", str(options.repeats)]
    return shlex.join([*words, *words_for_ours(options)])


if __name__ == "__main__":
    sys.exit(main())
