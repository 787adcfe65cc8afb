"""What became of an attempt while nobody looked: told from what is written down.

The launcher writes `begins` before it starts anything, `runs` with the process, `exits` with the
exit status before the kernel forgets it, and `ended` with what it used (or `unbegun`: there was no
room for another process). So of a launcher that is
gone, what it has no `begins` of was never started; and what it has no `exits` of runs on, or
nobody knows how it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from simple_gpu_scheduler.queue.journal import JournalEntry
from simple_gpu_scheduler.queue.records import Attempt

AttemptKey = tuple[int, int]


class Verdict(NamedTuple):
    """What is to be done about an attempt."""

    what: str  #: unstart, wait (its launcher tells), adopt (it runs on), ended, broken, lost
    note: JournalEntry | None = None
    reason: str = ""


class Evidence(NamedTuple):
    """All that is known when a server begins."""

    boot: str  #: this start of the machine
    alive: frozenset[str]  #: launchers that live, and have done what they were told
    silent: frozenset[str]  #: launchers that live and don't answer; they may have been stopped
    notes: Mapping[AttemptKey, Mapping[str, JournalEntry]]  #: of all journals, by kind
    is_running: Callable[
        [JournalEntry], bool
    ]  #: whether the process of a `runs` is still that one
    #: Of those of it that live: its number, and when it was started.
    first_process: Callable[[Attempt], tuple[int, int] | None]


def verdict(attempt: Attempt, facts: Evidence) -> Verdict:
    """What to do about an attempt that isn't over as far as the queue knows."""
    notes = facts.notes.get((attempt.job, attempt.number), {})
    end = notes.get("ended") or notes.get("exits") or notes.get("unbegun")
    if end is not None:
        return Verdict("ended", end)
    if "broken" in notes:
        return Verdict("broken", notes["broken"], notes["broken"].reason)
    if attempt.boot != facts.boot:  # a power failure may have taken its `begins`
        return Verdict("lost", reason="the machine was restarted while it ran")
    if attempt.launcher in facts.silent:
        return Verdict("wait", notes.get("runs"))
    if "begins" not in notes and not attempt.pid:  # its journal may be gone when it has a process
        return Verdict("unstart")
    if attempt.launcher in facts.alive:
        return Verdict("wait", notes.get("runs"))
    return _orphan(attempt, notes, facts)


def _orphan(attempt: Attempt, notes: Mapping[str, JournalEntry], facts: Evidence) -> Verdict:
    """Its launcher was killed: it may run on, but its exit status is nobody's any more."""
    runs = notes.get("runs") or _known(attempt)
    if runs is not None and facts.is_running(runs):
        return Verdict("adopt", runs)
    found = facts.first_process(attempt)
    if found is not None:  # what it has started runs on, if not itself
        return Verdict("adopt", runs or JournalEntry("runs", attempt.job, attempt.number, *found))
    if runs is not None:
        return Verdict("lost", runs, "its launcher was killed, and nobody saw how it ended")
    return Verdict("lost", reason="its launcher was killed as it began; it may have run")


def _known(attempt: Attempt) -> JournalEntry | None:
    """Its process, as the queue has it."""
    if not attempt.pid:
        return None
    return JournalEntry("runs", attempt.job, attempt.number, attempt.pid, attempt.start_ticks or 0)
