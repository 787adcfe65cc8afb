"""The figures of the scheduler."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from benchmarks.harness.bench import Bench, Stamps, feed
from benchmarks.harness.errors import RunFailed
from benchmarks.harness.peers import DISK, FLOOR, ORIGINAL, OURS, SLOTS, Peer, output_of, scheduler
from benchmarks.harness.process import MILLISECOND, Activity, Run
from benchmarks.harness.report import Column, Row, Section, Target, difference, ratio, relate
from benchmarks.harness.stats import median, percentile

HOLD_MS = 60_000
"""How long a job sleeps that is to hold its slot; it is killed long before."""

# 1. Throughput -------------------------------------------------------------------------------


def throughput(bench: Bench) -> Section:
    rows = bench.interleave(
        "throughput", bench.peers, lambda peer: no_ops(bench, peer), bench.sizes.repeats
    )
    relate(rows, "rate", rows, FLOOR, "share", ratio)
    return Section(
        "throughput",
        "No-op jobs on 4 slots",
        "Lines that say `true`, each run as `sh -c LINE`. Start-up is not included. CPU: in all "
        "(job, shell and dispatcher), and of the dispatcher's own process.",
        [
            Column("rate", "jobs/s", 0),
            Column("share", "of floor", 2),
            Column("cpu", "CPU ms/job", 2),
            Column("own", "own CPU ms/job", 3),
        ],
        rows,
        [
            Target(
                "no-op jobs a second, share of the floor",
                OURS,
                "share",
                0.85,
                at_least=True,
                digits=2,
            ),
            Target("own CPU a job", OURS, "own", 0.1, " ms", digits=3),
        ],
    )


def no_ops(bench: Bench, peer: Peer) -> dict[str, float]:
    """Rate and CPU of many jobs, less those of one job: start-up, imports and exit do not count.

    The first and the last job stamp; what lies between their starts is the rest.
    """
    jobs = max(40, int(peer.jobs * bench.sizes.jobs_share))
    one, _ = bench.finish(peer, [bench.stamp_line()])
    many, stamps = bench.finish(
        peer, [bench.stamp_line(), *["true"] * (jobs - 2), bench.stamp_line()]
    )
    if len(stamps.starts) != 2:
        raise RunFailed(f"{len(stamps.starts)} of 2 stamped jobs ran")
    figures = {
        "rate": (jobs - 1) / (stamps.starts[1] - stamps.starts[0]) * 1e9,
        "cpu": (many.all_cpu_ms - one.all_cpu_ms) / (jobs - 1),
    }
    if peer.streams:
        figures["own"] = (many.own_cpu_ms - one.own_cpu_ms) / (jobs - 1)
    return figures


# 2. Turnaround -------------------------------------------------------------------------------


def turnaround(bench: Bench) -> Section:
    jobs = bench.sizes.turnaround_jobs
    rows = bench.interleave(
        "turnaround", bench.peers, lambda peer: gaps(bench, peer), bench.sizes.few_repeats
    )
    relate(rows, "p50", rows, FLOOR, "over", difference)
    return Section(
        "turnaround",
        "Turnaround of a slot",
        f"From the end of a job to the start of the next on its slot, with {jobs} jobs of "
        "50 ms on 4 slots, in ms. All four end at about the same time, so that much of it is four "
        "shells starting at once; what a dispatcher adds is the difference to the floor.",
        [Column("p50", "p50", 2), Column("over", "p50 less floor's", 2), Column("p99", "p99", 1)],
        rows,
        [Target("slot turnaround, p50 less the floor's", OURS, "over", 0.3, " ms", digits=2)],
    )


def gaps(bench: Bench, peer: Peer) -> dict[str, float]:
    """The i-th end is matched to the start that it made possible: the (i + 4)-th."""
    jobs = bench.sizes.turnaround_jobs
    _, stamps = bench.finish(peer, [bench.stamp_line(50)] * jobs)
    if not len(stamps.starts) == len(stamps.ends) == jobs:
        raise RunFailed(f"{len(stamps.ends)} of {jobs} jobs ran")
    waits = [
        (start - end) / MILLISECOND
        for end, start in zip(
            stamps.ends, stamps.starts[SLOTS:], strict=False
        )  # the last 4 have no successor
    ]
    return {"p50": percentile(waits, 50), "p99": percentile(waits, 99)}


# 3. Backlog ----------------------------------------------------------------------------------


def backlog(bench: Bench) -> Section:
    lines = bench.sizes.backlog_lines
    path = bench.disk / "backlog"
    write_backlog(bench, path, lines)
    streaming = [peer for peer in bench.peers if peer.streams]
    rows = bench.interleave(
        "backlog", streaming, lambda peer: flooded(bench, peer, path), bench.sizes.few_repeats
    )
    path.unlink()
    rows += [
        Row(peer.key, peer.title, note="keeps a process for each queued line")
        for peer in bench.peers
        if not peer.streams
    ]
    over = Target(
        f"first job with {lines:,} lines, less that with one line", OURS, "over", 50, " ms"
    )
    return Section(
        "backlog",
        f"{lines:,} lines on standard input",
        "Time from the start of the dispatcher to the start of the first job, in ms, and peak "
        "resident memory of the dispatcher in MB while the first four jobs hold all slots.",
        [
            Column("one", "1 line"),
            Column("file", "all lines, file"),
            Column("pipe", "all lines, pipe"),
            Column("over", "larger, less that of 1 line"),
            Column("memory", "memory MB"),
        ],
        rows,
        [over, Target(f"memory with {lines:,} lines", OURS, "memory", 25, " MB")],
    )


def write_backlog(bench: Bench, path: Path, lines: int) -> None:
    """The first four lines hold the slots; the others look like those of a search."""
    with path.open("w") as file:
        file.writelines([f"{bench.stamp_line(HOLD_MS)}\n"] * SLOTS)
        file.writelines(
            f"true --lr 0.001 --bs 32 --seed {seed}\n" for seed in range(lines - SLOTS)
        )


def flooded(bench: Bench, peer: Peer, path: Path) -> dict[str, float]:
    with bench.queue([bench.stamp_line(HOLD_MS)]) as stdin:
        one = held(bench, peer, stdin)
    with path.open("rb") as stdin:
        file = held(bench, peer, stdin)
    with feeding(path) as stdin:
        pipe = held(bench, peer, stdin)
    return {
        "one": one.first_job_ms,
        "file": file.first_job_ms,
        "pipe": pipe.first_job_ms,
        "over": max(file.first_job_ms, pipe.first_job_ms) - one.first_job_ms,
        "memory": max(file.memory_mb, pipe.memory_mb),
    }


@contextlib.contextmanager
def feeding(path: Path) -> Iterator[IO[bytes]]:
    with feed(path) as process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.kill()


@dataclass(frozen=True)
class Held:
    first_job_ms: float
    memory_mb: float


def held(bench: Bench, peer: Peer, stdin: IO[bytes]) -> Held:
    """Waits until the first job has started and the dispatcher rests."""
    with bench.running(peer, stdin) as run:
        first_ns = wait_for_stamp(run)
        wait_for_rest(run)
        memory_mb = run.memory_mb()
        run.kill()
        return Held((first_ns - run.usage().started_ns) / MILLISECOND, memory_mb)


def wait_for_stamp(run: Run, timeout_s: float = 20) -> int:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        stamps = Stamps.read(run.folder / "stamps")
        if stamps.starts:
            return stamps.starts[0]
        if run.ended(0.005):
            raise RunFailed(f"ended before its first job started; {run.last_words()}")
    raise RunFailed(f"no job started within {timeout_s:.0f} s; {run.last_words()}")


def wait_for_rest(run: Run, quiet_s: float = 0.2, timeout_s: float = 5) -> None:
    """Until the dispatcher has used next to no CPU for a while (or for ever keeps busy)."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        before = run.activity().cpu_ns
        time.sleep(quiet_s)
        if run.activity().cpu_ns - before < MILLISECOND:
            return


# 4. Idle -------------------------------------------------------------------------------------


def idle(bench: Bench) -> Section:
    """All at once: who is idle disturbs nobody, and who is busy is seen to be busy."""
    rows = [Row(peer.key, peer.title) for peer in bench.peers]
    pairs = list(zip(bench.peers, rows, strict=True))
    installed = [(peer, row) for peer, row in pairs if bench.available(peer, row, "idle")]
    bench.progress.show("idle")
    for variant, keep_open in (("ended", False), ("open", True)):
        with contextlib.ExitStack() as stack:
            watched = [
                (row, start_idle(bench, peer, keep_open, stack))
                for peer, row in installed
                if not row.note  # it failed before
            ]
            watch(bench, watched, variant)
    return Section(
        "idle",
        "Idle while one job sleeps",
        f"Over {bench.sizes.idle_s:g} s: how often the dispatcher's threads were woken, a second, "
        "and CPU ms a second; after the end of the input, and with the input open but empty.",
        [
            Column("wakeups ended", "wake-ups/s, input ended"),
            Column("cpu ended", "CPU ms/s", 2),
            Column("wakeups open", "wake-ups/s, input open"),
            Column("cpu open", "CPU ms/s", 2),
        ],
        rows,
        [
            Target("wake-ups while idle, input ended", OURS, "wakeups ended", 0, "/s"),
            Target("wake-ups while idle, input open", OURS, "wakeups open", 0, "/s"),
        ],
    )


def start_idle(bench: Bench, peer: Peer, keep_open: bool, stack: contextlib.ExitStack) -> Run:
    """A dispatcher with one sleeping job, at the end of its input or waiting for more."""
    read_end, write_end = os.pipe()
    os.write(write_end, f"{bench.stamp_line(HOLD_MS)}\n".encode())
    if keep_open:
        stack.callback(os.close, write_end)
    else:
        os.close(write_end)
    run = stack.enter_context(bench.running(peer, read_end))
    os.close(read_end)
    return run


def watch(bench: Bench, watched: list[tuple[Row, Run]], variant: str) -> None:
    runs = [(row, run) for row, run in watched if begun(bench, row, run)]
    time.sleep(bench.sizes.idle_s)  # to settle: some look again less and less often
    before = [(time.monotonic(), run.activity()) for _, run in runs]
    time.sleep(bench.sizes.idle_s)
    for (row, run), (began, activity) in zip(runs, before, strict=True):
        row.add(activity_since(activity, run.activity(), time.monotonic() - began, variant))


def begun(bench: Bench, row: Row, run: Run) -> bool:
    try:
        wait_for_stamp(run)
    except RunFailed as error:
        bench.failed(row, "idle", str(error))
        return False
    return True


def activity_since(
    before: Activity, after: Activity, seconds: float, variant: str
) -> dict[str, float]:
    return {
        f"wakeups {variant}": (after.wakeups - before.wakeups) / seconds,
        f"cpu {variant}": (after.cpu_ns - before.cpu_ns) / MILLISECOND / seconds,
    }


# 5. Start-up ---------------------------------------------------------------------------------


def startup(bench: Bench) -> Section:
    rows = bench.interleave(
        "startup",
        [*interpreters(bench), *bench.peers],
        lambda peer: one_job(bench, peer),
        bench.sizes.repeats,
    )
    ours = {OURS, ORIGINAL, *(one.commit for one in bench.earlier)}
    in_python = [row for row in rows if row.key in ours]
    relate(in_python, "wall", rows, "python", "beyond", difference)
    return Section(
        "startup",
        "Start-up",
        "One job, `true`, from the start of the dispatcher to its exit, in ms; and for those in "
        "Python, what comes on top of the interpreter's own (`python -c pass`).",
        [
            Column("wall", "start to exit"),
            Column("beyond", "beyond Python's own"),
            Column("cpu", "CPU ms"),
        ],
        rows,
        [Target("start to exit with one job, beyond Python's own", OURS, "beyond", 60, " ms")],
    )


def interpreters(bench: Bench) -> list[Peer]:
    """The interpreter that runs our commands."""
    beside = bench.ours / "python"
    python = str(beside) if beside.exists() else sys.executable
    return [
        Peer(
            "python -I -S", "python -I -S -c pass", (python, "-I", "-S", "-c", "pass"), python, 0
        ),
        Peer("python", "python -c pass", (python, "-c", "pass"), python, 0),
    ]


def one_job(bench: Bench, peer: Peer) -> dict[str, float]:
    """The median of a few runs in a row, since one of some ms is at the mercy of chance."""
    usages = [bench.finish(peer, ["true"])[0] for _ in range(bench.sizes.startup_runs)]
    return {
        "wall": median([usage.wall_ms for usage in usages]),
        "cpu": median([usage.all_cpu_ms for usage in usages]),
    }


# 6. Features ---------------------------------------------------------------------------------

JOBLOG = ("--joblog", f"{DISK}/joblog")
RESULTS = ("--results", f"{DISK}/results")


def features(bench: Bench) -> Section:
    variants = feature_variants(bench)
    offered = output_of([variants[0].program, "--help"])
    usable = [variant for variant in variants if lacks(variant, offered) is None]
    measured = bench.interleave(
        "features", usable, lambda peer: no_ops(bench, peer), bench.sizes.repeats
    )
    rows_by_key = {row.key: row for row in measured}
    rows = [
        rows_by_key.get(
            variant.key,
            Row(variant.key, variant.title, note=f"no option {lacks(variant, offered)}"),
        )
        for variant in variants
    ]
    relate(rows, "rate", rows, OURS, "share", ratio)
    return Section(
        "features",
        "What the scheduler's features cost",
        "No-op jobs on 4 slots, as above; the job log and the results are written to disk.",
        [
            Column("rate", "jobs/s", 0),
            Column("share", "of plain", 2),
            Column("cpu", "CPU ms/job", 2),
            Column("own", "own CPU ms/job", 3),
        ],
        rows,
    )


def feature_variants(bench: Bench) -> list[Peer]:
    ours = next(peer for peer in bench.peers if peer.key == OURS)
    plain = replace(ours, title="plain", jobs=2000)
    return [
        plain,
        *(
            replace(
                plain, key=f"{OURS} {name}", title=name, command=scheduler(bench.ours, *options)
            )
            for name, options in (
                ("--joblog", JOBLOG),
                ("--results", RESULTS),
                ("--joblog --results", JOBLOG + RESULTS),
            )
        ),
    ]


def lacks(variant: Peer, offered: str) -> str | None:
    """The first option that the command's help does not know, if the help could be read at all."""
    options = [word for word in variant.command if word.startswith("--")]
    return next((option for option in options if offered and option not in offered), None)
