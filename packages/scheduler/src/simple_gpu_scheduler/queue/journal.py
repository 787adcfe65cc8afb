"""What a launcher's journal tells: which attempts it began, which run, and how those ended."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class Note(NamedTuple):
    """A line of the journal."""

    what: str  #: begins, runs, exits, ended, broken (it couldn't be started)
    job: int
    attempt: int
    pid: int = 0
    start_ticks: int = 0
    at_s: float = 0.0
    exit_code: int | None = None
    signal: int | None = None
    user_s: float = 0.0
    system_s: float = 0.0
    max_rss_mib: int = 0
    reason: str = ""


def read_notes(data: bytes) -> tuple[list[Note], bytes]:
    """The notes in what was read, and its rest: a line that isn't whole yet.

    A line that can't be read is passed over: it was torn by a crash of the machine.
    """
    *lines, rest = data.split(b"\n")
    return [note for line in _parsed(lines) for note in _note(line)], rest


def _parsed(lines: Sequence[bytes]) -> Iterator[Any]:
    """What stands in the lines that can be read."""
    try:
        yield from json.loads(b"[" + b",".join(lines) + b"]")
    except (ValueError, RecursionError):
        if len(lines) > 1:
            for line in lines:
                yield from _parsed([line])


def _note(line: Any) -> Iterator[Note]:
    try:
        what, job, attempt, *facts = line
        if what == "begins":
            yield Note(what, int(job), int(attempt))
        elif what == "runs":
            pid, start_ticks, at_s = facts
            yield Note(what, int(job), int(attempt), int(pid), int(start_ticks), float(at_s))
        elif what == "broken":
            why, at_s = facts
            yield Note(what, int(job), int(attempt), at_s=float(at_s), reason=str(why))
        elif what == "exits":
            code, at_s = facts
            yield _ended(int(job), int(attempt), [code, at_s, 0, 0, 0])._replace(what=what)
        elif what == "ended":
            yield _ended(int(job), int(attempt), facts)
    except (ValueError, TypeError, OverflowError):
        return


def _ended(job: int, attempt: int, facts: list[float]) -> Note:
    code, at_s, user_s, system_s, rss_mib = facts
    ended = Note("ended", job, attempt, at_s=float(at_s), user_s=float(user_s))
    ended = ended._replace(system_s=float(system_s), max_rss_mib=int(rss_mib))
    if code < 0:
        return ended._replace(signal=-int(code))
    return ended._replace(exit_code=int(code))
