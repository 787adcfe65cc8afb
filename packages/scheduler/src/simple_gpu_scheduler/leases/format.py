"""What stands in the files of leases and tickets.

Anybody may put a file into the directory, so nothing in one is taken on trust: who wrote it and
what it is called is told by the file system, and what can't be right makes it no lease at all.
Our programs write a file whole before it gets its name, so that none of theirs is such a one.
Later versions may add fields; what these mean stays.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, TypeVar

from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.leases.records import LeaseRecord, LeaseRequest, Ticket

#: Files of version 1 were locked by flock(2) alone.
VERSION = 2

#: Of a lease or waiter. No machine has so many; who has more wants to keep others busy.
MOST_GPUS = 512

_MOST = 1 << 62
_LATEST_S = 1e11  # the year 5138
_LONGEST_KIND = 20
_TURN_DIGITS = 12

Record = TypeVar("Record", LeaseRecord, Ticket)
Read = Callable[[str, int, str, bytes], Record]


def lease_content(lease: LeaseRecord) -> bytes:
    """A lease's file: a line that stays, and one for its turns."""
    fields = {"version": VERSION, **lease._asdict()}
    del fields["turn"]
    return json.dumps(fields).encode() + b"\n" + turn_content(lease.turn)


def turn_content(turn: int) -> bytes:
    """The last bytes of a lease's file, always of one length: they are written in place."""
    return b"%0*d\n" % (_TURN_DIGITS, turn)


def ticket_content(ticket: Ticket) -> bytes:
    """A waiter's file."""
    fields = {"version": VERSION, **ticket._asdict(), "want": ticket.want._asdict()}
    return json.dumps(fields).encode() + b"\n"


def read_lease(name: str, uid: int, user: str, content: bytes) -> LeaseRecord:
    """The lease of a file.

    Args:
        name: of the file, without its ending: the lease's id.
        uid, user: who owns the file.

    Raises:
        ValueError: it is none of ours.
    """
    line, _, turn = content.partition(b"\n")
    return _lease(name, uid, user, line)._replace(turn=_turn(turn))


@functools.lru_cache(maxsize=256)  # who allocates reads the same ones again and again
def _lease(name: str, uid: int, user: str, line: bytes) -> LeaseRecord:
    fields = _fields(line)
    parent = fields.get("parent")
    return LeaseRecord(
        name,
        uid,
        user,
        _integer(fields.get("pid"), 1),
        _kind(fields.get("kind")),
        _time_s(fields.get("since_s")),
        _names(fields.get("gpus"), least=1),
        _integer(fields.get("units"), 1, GPU_UNITS),
        _memory_mib(fields.get("memory_mib")),
        None if parent is None else str(parent),
        _names(fields.get("numbers", [])),
        start_ticks=_integer(fields.get("start_ticks", 0), 0),
    )


@functools.lru_cache(maxsize=256)  # dozens who wait read each other at each end of a lease
def read_ticket(name: str, uid: int, user: str, content: bytes) -> Ticket:
    """The waiter of a file; as `read_lease`."""
    fields = _fields(content)
    want, inside = fields.get("want"), fields.get("inside")
    if not isinstance(want, dict):
        raise ValueError("no want")
    return Ticket(
        name,
        uid,
        user,
        _integer(fields.get("pid"), 1),
        _integer(fields.get("since_ns"), 0),
        LeaseRequest(
            _names(want.get("gpus")),
            _integer(want.get("number"), 1),
            _integer(want.get("units"), 1, GPU_UNITS),
            _memory_mib(want.get("memory_mib")),
            _names(want.get("numbers", [])),
        ),
        None if inside is None else str(inside),
    )


def _fields(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except RecursionError:  # as deep as a file may be
        raise ValueError("too deep") from None
    if not isinstance(fields, dict):
        raise ValueError("no fields")
    return fields


def _integer(value: Any, least: int, most: int = _MOST) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value!r} is no number from {least} to {most}")
    return value


def _memory_mib(value: Any) -> int | None:
    return None if value is None else _integer(value, 0)


def _time_s(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= _LATEST_S:  # a NaN is neither
        raise ValueError(f"{value!r} is no time")
    return float(value)


def _names(value: Any, least: int = 0) -> tuple[str, ...]:
    if not isinstance(value, list) or not least <= len(value) <= MOST_GPUS:
        raise ValueError(f"{value!r} is no list of names")
    return tuple(_text(one) for one in value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no name")
    return value


def _kind(value: Any) -> str:
    """It is shown on terminals: nothing but a word."""
    text = _text(value)
    return text if text.isascii() and text.isalpha() and len(text) <= _LONGEST_KIND else "unknown"


def _turn(line: bytes) -> int:
    """Zero where it can't be read: those within the lease are then none of it, which is safe."""
    digits = line.strip()
    return int(digits) if digits.isdigit() and len(digits) <= _TURN_DIGITS else 0
