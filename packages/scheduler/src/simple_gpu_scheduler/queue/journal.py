"""A launcher's journal: the attempts that it began, their processes, and how those ended."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class JournalEntry(NamedTuple):
    """A line of the journal."""

    #: begins, runs, exits, ended; broken: it can't be started; unbegun: it can't be started now
    kind: str
    job: int
    attempt: int
    pid: int = 0
    start_ticks: int = 0  #: since boot: the process was started at this time or later
    at_s: float = 0.0
    exit_code: int | None = None
    signal: int | None = None
    user_s: float = 0.0
    system_s: float = 0.0
    max_rss_mib: int = 0
    reason: str = ""
    last_ticks: int = 0  #: since boot: the process was started at this time or earlier


def read_entries(data: bytes) -> tuple[list[JournalEntry], bytes]:
    """Return the entries in the data, and the incomplete line at its end.

    Lines that can't be read are skipped: a crash of the machine has torn them.
    """
    *lines, incomplete = data.split(b"\n")
    entries = (_entry(line) for line in _parsed(lines))
    return [entry for entry in entries if entry is not None], incomplete


def _parsed(lines: Sequence[bytes]) -> Iterator[Any]:
    """The JSON values of the lines that can be read. All lines are parsed at once if possible."""
    try:
        values = json.loads(b"[" + b",".join(lines) + b"]")
    except (ValueError, RecursionError):
        values = []
    if len(values) == len(lines):
        yield from values
    elif len(lines) > 1:
        for line in lines:
            yield from _parsed([line])


def _entry(line: Any) -> JournalEntry | None:
    try:
        kind, job, attempt, *facts = line
        if kind == "begins":
            return JournalEntry(kind, int(job), int(attempt))
        if kind == "runs":
            pid, first, last, at_s = facts
            runs = JournalEntry(kind, int(job), int(attempt), int(pid), int(first), float(at_s))
            return runs._replace(last_ticks=int(last))
        if kind in ("broken", "unbegun"):
            why, at_s = facts
            return JournalEntry(kind, int(job), int(attempt), at_s=float(at_s), reason=str(why))
        if kind in ("exits", "ended"):
            return _end(kind, int(job), int(attempt), *facts)
    except (ValueError, TypeError, OverflowError):
        pass
    return None


def _end(
    kind: str, job: int, attempt: int, code: int, at_s: float,
    user_s: float = 0.0, system_s: float = 0.0, rss_mib: int = 0,
) -> JournalEntry:  # fmt: skip
    exit_code, number = (int(code), None) if code >= 0 else (None, -int(code))
    used = float(user_s), float(system_s), int(rss_mib)
    return JournalEntry(kind, job, attempt, 0, 0, float(at_s), exit_code, number, *used)
