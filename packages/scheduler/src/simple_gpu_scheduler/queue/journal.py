"""What a launcher's journal tells: which attempts it began, which run, and how those ended."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class JournalEntry(NamedTuple):
    """A line of the journal."""

    what: str  #: begins, runs, exits, ended; broken (it can't be started), unbegun (not now)
    job: int
    attempt: int
    pid: int = 0
    start_ticks: int = 0  #: not before; since boot
    at_s: float = 0.0
    exit_code: int | None = None
    signal: int | None = None
    user_s: float = 0.0
    system_s: float = 0.0
    max_rss_mib: int = 0
    reason: str = ""
    last_ticks: int = 0  #: and it was started by then


def read_entries(data: bytes) -> tuple[list[JournalEntry], bytes]:
    """The notes in what was read, and its rest: a line that isn't whole yet.

    A line that can't be read is passed over: it was torn by a crash of the machine.
    """
    *lines, rest = data.split(b"\n")
    found = (_note(line) for line in _parsed(lines))
    return [note for note in found if note is not None], rest


def _parsed(lines: Sequence[bytes]) -> Iterator[Any]:
    """What stands in the lines that can be read."""
    try:
        found = json.loads(b"[" + b",".join(lines) + b"]")
    except (ValueError, RecursionError):
        found = []
    if len(found) == len(lines):
        yield from found
    elif len(lines) > 1:
        for line in lines:
            yield from _parsed([line])


def _note(line: Any) -> JournalEntry | None:
    try:
        what, job, attempt, *facts = line
        if what == "begins":
            return JournalEntry(what, int(job), int(attempt))
        if what == "runs":
            pid, first, last, at_s = facts
            runs = JournalEntry(what, int(job), int(attempt), int(pid), int(first), float(at_s))
            return runs._replace(last_ticks=int(last))
        if what in ("broken", "unbegun"):
            why, at_s = facts
            return JournalEntry(what, int(job), int(attempt), at_s=float(at_s), reason=str(why))
        if what in ("exits", "ended"):
            return _end(what, int(job), int(attempt), *facts)
    except (ValueError, TypeError, OverflowError):
        pass
    return None


def _end(
    what: str, job: int, attempt: int, code: int, at_s: float,
    user_s: float = 0.0, system_s: float = 0.0, rss_mib: int = 0,
) -> JournalEntry:  # fmt: skip
    exit_code, number = (int(code), None) if code >= 0 else (None, -int(code))
    used = float(user_s), float(system_s), int(rss_mib)
    return JournalEntry(what, job, attempt, 0, 0, float(at_s), exit_code, number, *used)
