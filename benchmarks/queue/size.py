"""Figures of the queue as it grows: commands, memory, the start of the next job, idling.

All of them are taken of one queue for each size: some stamped jobs that are measured first, jobs
that hold all slots for good, and behind them as many as the size says.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.harness.bench import Stamps
from benchmarks.harness.errors import RunFailed
from benchmarks.harness.peers import FLOOR, SLOTS, Peer
from benchmarks.harness.process import MILLISECOND
from benchmarks.harness.report import Column, Row, Section, Target, difference, relate
from benchmarks.harness.stats import median, percentile

from .bench import QueueBench
from .ours import OurQueue, peak_mb, proportional_mb, resident_mb
from .room import LIMIT_S
from .speed import CallTimes, call_times

TARGET_SIZE = 100_000

#: What the plan asks of the file, by itself; in a process of its own, of the version measured.
READY = """
import json, sys, time
from simple_gpu_scheduler.queue.store.jobs import QueueStore
store = QueueStore(sys.argv[1])
def took_ms():
    began_s = time.perf_counter()
    assert len(store.ready(time.time(), 128)) > 0
    return (time.perf_counter() - began_s) * 1000
print(json.dumps([took_ms() for _ in range(51)][1:]))
"""


@dataclass(frozen=True)
class Size:
    """A row."""

    jobs: int

    installed = True
    install = ""

    @property
    def key(self) -> str:
        return f"ours {self.jobs}"

    @property
    def title(self) -> str:
        return f"{self.jobs:,} queued"


def rows_by_size(bench: QueueBench) -> list[Row]:
    """Taken once, whichever of the sections is first."""
    if "size" not in bench.rows:
        sizes = [bench.floor, *(Size(jobs) for jobs in bench.sizes.grown)]
        rows = bench.bench.interleave("size", sizes, lambda size: measured(bench, size), 1)
        for row in rows[1:]:
            relate([row], "p50", rows, FLOOR, "over", difference)
        bench.rows["size"] = rows
    return bench.rows["size"]


def measured(bench: QueueBench, size: Size | Peer) -> dict[str, float]:
    if isinstance(size, Peer):  # the floor, which has but one of these figures
        _, stamps = bench.bench.finish(
            size, [bench.bench.stamp_line(50)] * bench.sizes.turnaround_jobs
        )
        return gaps(stamps)
    with bench.our_queue() as queue:
        room = queue.room
        queue.open()
        queue.serve("drain")
        began_s = time.perf_counter()
        stamped = bench.sizes.turnaround_jobs
        head = [room.stamp_line(50)] * stamped + [room.gate_line()] * SLOTS
        queue.fill([*head, *["python train.py --lr 0.001 --seed 1"] * size.jobs])
        filled_s = time.perf_counter() - began_s
        queue.serve("resume")
        room.wait_at_gate(SLOTS, LIMIT_S)  # behind the stamped ones
        time.sleep(bench.sizes.idle_s)  # to settle
        return {
            "fill": filled_s,
            **gaps(room.wait_for_stamps(stamped)),
            **idle(queue, bench.sizes.idle_s),
            **memory(queue),
            **commands(bench, queue),
            "ready": ready_ms(bench, queue),
        }


def gaps(stamps: Stamps) -> dict[str, float]:
    """The i-th end is matched to the start that it made possible: the (i + 4)-th."""
    waits_ms = [
        (start - end) / MILLISECOND
        for end, start in zip(stamps.ends, stamps.starts[SLOTS:], strict=False)
    ]
    return {"p50": percentile(waits_ms, 50), "p95": percentile(waits_ms, 95)}


def idle(queue: OurQueue, seconds: float) -> dict[str, float]:
    pids = queue.processes()
    before = queue.spent(pids)
    time.sleep(seconds)
    after = queue.spent(pids)
    return {
        "wakeups": (after.wakeups - before.wakeups) / seconds,
        "cpu": (after.own_ns - before.own_ns) / MILLISECOND / seconds,
    }


def memory(queue: OurQueue) -> dict[str, float]:
    server, launchers = queue.server_pid(), queue.launcher_pids()
    both = [server, *launchers]
    return {
        "server": resident_mb(server),
        "launcher": sum(map(resident_mb, launchers)),
        "resident": sum(map(resident_mb, both)),
        "proportional": sum(map(proportional_mb, both)),
        "peak": sum(map(peak_mb, both)),
        "file": queue.file.stat().st_size / 1e6,
    }


def commands(bench: QueueBench, queue: OurQueue) -> dict[str, float]:
    def called(*words: str) -> CallTimes:
        return call_times(bench, queue.room, [queue.sgs, *words])

    submit = called("submit", "--", "true")
    return {
        "python": median(submit.python_ms),
        "submit": median(submit.wall_ms),
        "submit p95": percentile(submit.wall_ms, 95),
        "submit beyond": submit.beyond_python_ms,
        "status": median(called("status").wall_ms),
        "json": median(called("status", "--json").wall_ms),
        "alone": median(called().wall_ms),
    }


def ready_ms(bench: QueueBench, queue: OurQueue) -> float:
    python = str(bench.sgs.with_name("python"))
    samples: Sequence[float] = json.loads(queue.room.call([python, "-c", READY, str(queue.file)]))
    if not samples:
        raise RunFailed("nothing is ready")
    return median(samples)


# Sections --------------------------------------------------------------------------------------


def grown(bench: QueueBench) -> Section:
    size = Size(min(TARGET_SIZE, bench.sizes.grown[-1]))
    key, queued = size.key, size.title
    return Section(
        "grown",
        "Commands, as the queue grows",
        "In ms, from start to exit, with all slots held; the output goes to a file. Medians of "
        f"{bench.sizes.submits} calls. Beyond Python: what comes on top of `python -c pass`, "
        "called in turn with it. Filled: how long it took to submit all, in one transaction.",
        [
            Column("fill", "filled, s", 2),
            Column("python", "python -c pass"),
            Column("submit", "sgs submit"),
            Column("submit beyond", "beyond Python"),
            Column("submit p95", "p95"),
            Column("status", "sgs status", 0),
            Column("json", "--json", 0),
            Column("alone", "sgs"),
        ],
        rows_by_size(bench)[1:],
        [
            Target(
                f"sgs submit, {queued}, beyond Python's own",
                key,
                "submit beyond",
                50,
                " ms",
            ),
            Target(f"sgs status, {queued}", key, "status", 300, " ms", digits=0),
        ],
    )


def server(bench: QueueBench) -> Section:
    size = Size(min(TARGET_SIZE, bench.sizes.grown[-1]))
    key, queued = size.key, size.title
    return Section(
        "server",
        "Server and launcher, as the queue grows",
        f"Turnaround: from the end of a job to the start of the next on its slot, in ms, of "
        f"{bench.sizes.turnaround_jobs} jobs of 50 ms on 4 slots, with the others queued behind. "
        "Ready: what the server asks the file before it plans, by itself, in ms. Memory in MB: "
        "resident, of both with shared pages divided (PSS), and the peak of both. Idle: over "
        f"{bench.sizes.idle_s:g} s with jobs that sleep on all slots, both together.",
        [
            Column("p50", "turnaround p50", 2),
            Column("over", "less the floor's", 2),
            Column("p95", "p95", 1),
            Column("ready", "ready", 2),
            Column("server", "server MB"),
            Column("launcher", "launcher MB"),
            Column("proportional", "both, PSS"),
            Column("peak", "both, peak"),
            Column("file", "file MB"),
            Column("wakeups", "wake-ups/s"),
            Column("cpu", "CPU ms/s", 2),
        ],
        rows_by_size(bench),
        [
            Target(f"memory of server and launcher, {queued}, peak", key, "peak", 80, " MB"),
            Target(f"turnaround, {queued}, p50 less the floor's", key, "over", 5, " ms"),
            Target(f"wake-ups while idle, {queued}", key, "wakeups", 0, "/s"),
            Target(f"CPU while idle, {queued}", key, "cpu", 0, " ms/s", digits=2),
        ],
    )
