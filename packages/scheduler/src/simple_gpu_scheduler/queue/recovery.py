"""Decides what became of an attempt while no server ran, from what is on record.

The launcher writes `begins` before it starts anything, and `runs` once there is a process. It
writes `exits` with the exit status before the kernel forgets it, and `ended` with the CPU time and
memory used. It writes `unbegun` if there was no room for another process.

So if a launcher is gone, an attempt without `begins` in its journal was never started. An attempt
without `exits` still runs, or its exit status is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from simple_gpu_scheduler.queue.journal import JournalEntry
from simple_gpu_scheduler.queue.records import Attempt

AttemptKey = tuple[int, int]


class Verdict(NamedTuple):
    """What the server has to do about an attempt."""

    #: unstart; wait: its launcher will report; adopt: it still runs; ended, broken, lost
    action: str
    entry: JournalEntry | None = None
    reason: str = ""


class Evidence(NamedTuple):
    """All that is known about attempts when a server begins."""

    boot: str  #: the id of this start of the machine
    alive: frozenset[str]  #: launchers that live and have carried out their orders
    silent: frozenset[str]  #: launchers that live and don't answer; they may have been stopped
    entries: Mapping[AttemptKey, Mapping[str, JournalEntry]]  #: of all journals, by kind
    is_running: Callable[[JournalEntry], bool]  #: True if the process of `runs` still runs
    #: The first living process of an attempt: its number, and its start time in ticks since boot.
    first_process: Callable[[Attempt], tuple[int, int] | None]


def verdict(attempt: Attempt, evidence: Evidence) -> Verdict:
    """Decide what to do about an attempt that has no end in the queue's file."""
    entries = evidence.entries.get((attempt.job, attempt.number), {})
    end = entries.get("ended") or entries.get("exits") or entries.get("unbegun")
    if end is not None:
        return Verdict("ended", end)
    if "broken" in entries:
        return Verdict("broken", entries["broken"], entries["broken"].reason)
    if attempt.boot != evidence.boot:  # a power failure may have taken its `begins`
        return Verdict("lost", reason="the machine was restarted while it ran")
    if attempt.launcher in evidence.silent:
        return Verdict("wait", entries.get("runs"))
    # An attempt whose process is in the queue's file has begun, even if its journal is gone.
    if "begins" not in entries and not attempt.pid:
        return Verdict("unstart")
    if attempt.launcher in evidence.alive:
        return Verdict("wait", entries.get("runs"))
    return _orphan(attempt, entries, evidence)


def _orphan(attempt: Attempt, entries: Mapping[str, JournalEntry], evidence: Evidence) -> Verdict:
    """Its launcher was killed: it may still run, but nobody will learn its exit status."""
    runs = entries.get("runs") or _recorded_process(attempt)
    if runs is not None and evidence.is_running(runs):
        return Verdict("adopt", runs)
    process = evidence.first_process(attempt)
    if process is not None:  # its first process may be gone, but a process that it started runs
        number = attempt.job, attempt.number
        return Verdict("adopt", runs or JournalEntry("runs", *number, *process))
    if runs is not None:
        return Verdict("lost", runs, "its launcher was killed, so its exit status is unknown")
    return Verdict("lost", reason="its launcher was killed while starting it; it may have run")


def _recorded_process(attempt: Attempt) -> JournalEntry | None:
    """The process of an attempt, as the queue's file has it."""
    if not attempt.pid:
        return None
    return JournalEntry("runs", attempt.job, attempt.number, attempt.pid, attempt.start_ticks or 0)
