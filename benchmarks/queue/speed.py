"""Figures of the queue beside its peers': no-op jobs, submission of one and of many."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.harness.errors import RunFailed
from benchmarks.harness.peers import FLOOR, OURS, SLOTS, Peer
from benchmarks.harness.process import cpu_ns
from benchmarks.harness.report import Column, Row, Section, Target, ratio, relate
from benchmarks.harness.stats import median
from benchmarks.pipe.figures import interpreters, no_ops

from .bench import QueueBench, check_count
from .peers import QueuePeer
from .room import Queue, Room

ENOUGH_S = 10.0
"""A command that is called again and again isn't called again after that."""

# 1. No-op jobs -------------------------------------------------------------------------------


def throughput(bench: QueueBench) -> Section:
    rows = bench.bench.interleave(
        "throughput",
        [*bench.pipes, *bench.queues],
        lambda peer: many_no_ops(bench, peer),
        bench.bench.sizes.few_repeats,
    )
    relate(rows, "rate", rows, FLOOR, "share", ratio)
    describe_queues(bench, rows)
    return Section(
        "throughput",
        "No-op jobs on 4 slots",
        "`true`, submitted while other jobs hold all slots, which then end; from the start of the "
        "first to that of the last. CPU: of everything that runs from then on, the jobs "
        "themselves included. The floor and the pipe read lines and keep nothing; they show what "
        "the jobs cost and what durability does.",
        [
            Column("rate", "jobs/s", 0),
            Column("share", "of floor", 3),
            Column("cpu", "CPU ms/job", 2),
            Column("durable", "accepted means durable"),
            Column("output", "output kept"),
        ],
        rows,
        [
            Target(
                "no-op jobs a second, share of the floor",
                OURS,
                "share",
                0.5,
                at_least=True,
                digits=2,
            )
        ],
    )


def many_no_ops(bench: QueueBench, peer: QueuePeer | Peer) -> dict[str, float]:
    if isinstance(peer, Peer):
        return no_ops(bench.bench, peer)
    jobs = bench.jobs(peer)
    with bench.opened(peer) as (room, queue):
        queue.fill(room.no_ops(jobs) if peer.in_order else room.all_stamped(jobs))
        before_ms = room.all_cpu_ms()
        room.open_gate()
        starts_ns = room.wait_for_stamps(2 if peer.in_order else jobs).starts
        wait_for_count(queue, jobs + SLOTS)
        cpu_ms = room.all_cpu_ms() - before_ms
    return {"rate": (jobs - 1) / (starts_ns[-1] - starts_ns[0]) * 1e9, "cpu": cpu_ms / jobs}


def wait_for_count(queue: Queue, jobs: int) -> None:
    """The last jobs may still be running, or about to be recorded."""
    until_s = time.monotonic() + 10
    while queue.ended() < jobs and time.monotonic() < until_s:
        time.sleep(0.1)
    check_count(queue, jobs)


def describe_queues(bench: QueueBench, rows: list[Row]) -> None:
    for peer in bench.queues:
        row = next(row for row in rows if row.key == peer.key)
        row.words |= {"durable": peer.durable, "output": peer.output}
    for row in rows:
        row.words.setdefault("durable", "keeps no queue")
        row.words.setdefault("output", "no")


# 2. No-op jobs of ours, by its own books -------------------------------------------------------

_TIMES = "SELECT min(started_s), max(ended_s), count(ended_s) FROM attempts"


def books(bench: QueueBench) -> Section:
    rows = bench.bench.interleave(
        "books",
        [bench.floor, bench.ours],
        lambda peer: recorded(bench) if peer is bench.ours else no_ops(bench.bench, bench.floor),
        bench.bench.sizes.repeats,
    )
    relate(rows, "rate", rows, FLOOR, "share", ratio)
    jobs = bench.jobs(bench.ours)
    return Section(
        "books",
        "No-op jobs, as the queue has recorded them",
        f"{jobs:,} jobs, submitted in one transaction while the server may start none (`sgs "
        "server drain`); then `sgs server resume`. The rate is by the table of attempts: from the "
        "first start to the last end. The whole is from the call of `resume` to the last end. Own "
        "CPU is that of server and launcher, without the jobs'; wake-ups are theirs.",
        [
            Column("rate", "jobs/s", 0),
            Column("share", "of floor", 3),
            Column("whole", "jobs/s, whole", 0),
            Column("own", "own CPU ms/job", 3),
            Column("launcher", "launcher's of it", 3),
            Column("cpu", "all CPU ms/job", 2),
            Column("wakeups", "wake-ups/job", 2),
        ],
        rows,
        [
            Target(
                "no-op jobs a second by its own books, share of the floor",
                OURS,
                "share",
                0.5,
                at_least=True,
                digits=2,
            )
        ],
    )


def recorded(bench: QueueBench) -> dict[str, float]:
    jobs = bench.jobs(bench.ours)
    with bench.our_queue() as queue:
        queue.open()
        queue.serve("drain")
        queue.fill(queue.room.no_ops(jobs))
        before = queue.spent([queue.server_pid()])
        began_s = time.time()
        queue.serve("resume")
        queue.room.wait_for_stamps(2)
        wait_for_count(queue, jobs)
        after, launcher_ns = (
            queue.spent(queue.processes()),
            sum(map(cpu_ns, queue.launcher_pids())),
        )
        first_s, last_s, ended = queue.ask(_TIMES)
    if ended != jobs:
        raise RunFailed(f"{ended:.0f} of {jobs} attempts have ended")
    own_ms, jobs_ms = (after.own_ns - before.own_ns) / 1e6, (after.jobs_ns - before.jobs_ns) / 1e6
    return {
        "rate": jobs / (last_s - first_s),
        "whole": jobs / (last_s - began_s),
        "own": own_ms / jobs,
        "launcher": launcher_ns / 1e6 / jobs,
        "cpu": (own_ms + jobs_ms) / jobs,
        "wakeups": (after.wakeups - before.wakeups) / jobs,
    }


# 3. Submitting one job -------------------------------------------------------------------------


def submit(bench: QueueBench) -> Section:
    rows = bench.bench.interleave(
        "submit",
        bench.queues,
        lambda peer: submit_one(bench, peer),
        bench.bench.sizes.few_repeats,
    )
    return Section(
        "submit",
        "Submitting one job",
        f"From the start of the client to its exit, in ms, while other jobs hold all slots: with "
        f"nothing else queued, and with as many jobs as are named. Each sample is the median of "
        f"{bench.sizes.submits} calls (fewer if {ENOUGH_S:g} s are over). Beyond Python, for "
        "those written in it: what comes on top of `python -c pass`, called in turn with it.",
        [
            Column("empty", "empty queue"),
            Column("beyond empty", "beyond Python"),
            Column("jobs", "long queue, jobs", 0),
            Column("long", "long queue"),
            Column("beyond long", "beyond Python"),
        ],
        rows,
        [
            Target(
                f"submit one job with {bench.long(bench.ours):,} queued, beyond Python's own",
                OURS,
                "beyond long",
                50,
                " ms",
            )
        ],
    )


def submit_one(bench: QueueBench, peer: QueuePeer) -> dict[str, float]:
    jobs = bench.long(peer)
    with bench.opened(peer) as (room, queue):
        empty = call_times(bench, room, queue.one("true"))
        queue.fill(["true"] * jobs)
        long = call_times(bench, room, queue.one("true"))
    figures = {"empty": median(empty.wall_ms), "long": median(long.wall_ms), "jobs": jobs}
    if peer.in_python:
        figures |= {"beyond empty": empty.beyond_python_ms, "beyond long": long.beyond_python_ms}
    return figures


@dataclass(frozen=True)
class CallTimes:
    """Of one command, called in turn with `python -c pass`."""

    wall_ms: list[float]
    python_ms: list[float]

    @property
    def beyond_python_ms(self) -> float:
        pairs = zip(self.wall_ms, self.python_ms, strict=True)
        return median([wall - python for wall, python in pairs])


def call_times(bench: QueueBench, room: Room, command: Sequence[str]) -> CallTimes:
    """After one call of each to warm up; fewer of a command that takes long."""
    python = interpreters(bench.bench)[-1].command
    pairs: list[tuple[float, float]] = []
    until_s = time.monotonic() + ENOUGH_S
    while len(pairs) < 2 or (len(pairs) <= bench.sizes.submits and time.monotonic() < until_s):
        pairs.append((room.time_ms(python), room.time_ms(command)))
    return CallTimes([wall for _, wall in pairs[1:]], [alone for alone, _ in pairs[1:]])


# 4. Submitting many --------------------------------------------------------------------------


def bulk(bench: QueueBench) -> Section:
    rows = bench.bench.interleave(
        "bulk",
        bench.queues,
        lambda peer: submit_many(bench, peer),
        bench.bench.sizes.few_repeats,
    )
    jobs = bench.bulk(bench.ours)
    return Section(
        "bulk",
        "Submitting many jobs",
        "As quickly as each is documented to take them, while other jobs hold all slots: ours "
        "reads lines, all or none of which are accepted; HyperQueue takes them as one job of many "
        "tasks, gpusched as lines of its file, gpuqu through its REST API; "
        "task-spooler, nq and gq-local want a client for each.",
        [
            Column("jobs", "jobs", 0),
            Column("seconds", "seconds", 2),
            Column("rate", "jobs/s", 0),
            Column("cpu", "CPU ms/job", 3),
        ],
        rows,
        [Target(f"{jobs:,} jobs from standard input", OURS, "seconds", 5, " s", digits=2)],
    )


def submit_many(bench: QueueBench, peer: QueuePeer) -> dict[str, float]:
    jobs = bench.bulk(peer)
    with bench.opened(peer) as (room, queue):
        before_ms, began_s = room.all_cpu_ms(), time.perf_counter()
        queue.submit_many(["true"] * jobs)
        took_s, cpu_ms = time.perf_counter() - began_s, room.all_cpu_ms() - before_ms
    return {"jobs": jobs, "seconds": took_s, "rate": jobs / took_s, "cpu": cpu_ms / jobs}


# 5. What others have published ----------------------------------------------------------------

ISSUES = "https://github.com/Nukesor/pueue/issues"


def published(_bench: QueueBench) -> Section:
    return Section(
        "published",
        "Published, not measured: pueue",
        "pueue is in neither PyPI nor Debian 12. These are its users' figures, on their machines; "
        "they show how the cost of one submission grows, and compare with nothing above.",
        [
            Column("what", "what"),
            Column("took", "took"),
            Column("each", "ms a job"),
            Column("source", "source"),
        ],
        [
            told("pueue 3.4.1, empty", "500 `pueue add`", "2.282 s", "4.6", 573),
            told("pueue 3.4.1, 2,000 queued", "500 `pueue add`", "12.247 s", "24.5", 573),
            told("pueue of January 2023, empty", "100 `pueue add`", "0.441 s", "4.4", 412),
            told("pueue of January 2023, 1,100 queued", "100 `pueue add`", "1.310 s", "13.1", 412),
        ],
    )


def told(title: str, what: str, took: str, each: str, issue: int) -> Row:
    source = f"[pueue#{issue}]({ISSUES}/{issue})"
    words = {"what": what, "took": took, "each": each, "source": source}
    return Row(title, title, words=words)
