"""The content of the files of leases and tickets.

Anybody may put a file into the directory, so its content is never trusted. A lease's owner is the
owner of its file, and its id is the file's name. A file with an impossible value is ignored. Our
programs complete a file before it gets its name, so theirs are never ignored.
Later versions may add fields; the meaning of these stays.
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

#: The most GPUs that a lease or ticket may name. No machine has as many.
MOST_GPUS = 512

_MOST_INTEGER = 1 << 62
_LATEST_S = 1e11  # the year 5138
_LONGEST_KIND = 20
_TURN_DIGITS = 12

Record = TypeVar("Record", LeaseRecord, Ticket)
Read = Callable[[str, int, str, bytes], Record]


def lease_content(lease: LeaseRecord) -> bytes:
    """The content of a lease's file: a line that never changes, and a line with its turn."""
    fields = {"version": VERSION, **lease._asdict()}
    del fields["turn"]
    return json.dumps(fields).encode() + b"\n" + turn_content(lease.turn)


def turn_content(turn: int) -> bytes:
    """The last line of a lease's file. Its length is fixed, as it is overwritten in place."""
    return b"%0*d\n" % (_TURN_DIGITS, turn)


def ticket_content(ticket: Ticket) -> bytes:
    """The content of a ticket's file. There the request is called `want`."""
    fields = {"version": VERSION, **ticket._asdict(), "want": ticket.request._asdict()}
    del fields["request"]
    return json.dumps(fields).encode() + b"\n"


def read_lease(name: str, uid: int, user: str, content: bytes) -> LeaseRecord:
    """The lease that a file describes.

    Args:
        name: the file's name without its ending: the lease's id.
        uid, user: the owner of the file.

    Raises:
        ValueError: the content is not that of a lease.
    """
    line, _, turn = content.partition(b"\n")
    return _lease(name, uid, user, line)._replace(turn=_turn(turn))


@functools.lru_cache(maxsize=256)  # an allocator reads the same files again and again
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


@functools.lru_cache(maxsize=256)  # dozens of waiters read each other's tickets when a lease ends
def read_ticket(name: str, uid: int, user: str, content: bytes) -> Ticket:
    """The ticket that a file describes; see `read_lease`."""
    fields = _fields(content)
    request, inside = fields.get("want"), fields.get("inside")
    if not isinstance(request, dict):
        raise ValueError("no want")
    return Ticket(
        name,
        uid,
        user,
        _integer(fields.get("pid"), 1),
        _integer(fields.get("since_ns"), 0),
        LeaseRequest(
            _names(request.get("gpus")),
            _integer(request.get("number"), 1),
            _integer(request.get("units"), 1, GPU_UNITS),
            _memory_mib(request.get("memory_mib")),
            _names(request.get("numbers", [])),
        ),
        None if inside is None else str(inside),
    )


def _fields(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except RecursionError:  # nested too deeply
        raise ValueError("too deep") from None
    if not isinstance(fields, dict):
        raise ValueError("no fields")
    return fields


def _integer(value: Any, least: int, most: int = _MOST_INTEGER) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value!r} is no number from {least} to {most}")
    return value


def _memory_mib(value: Any) -> int | None:
    return None if value is None else _integer(value, 0)


def _time_s(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= _LATEST_S:  # a NaN fails both
        raise ValueError(f"{value!r} is no time")
    return float(value)


def _names(value: Any, least: int = 0) -> tuple[str, ...]:
    if not isinstance(value, list) or not least <= len(value) <= MOST_GPUS:
        raise ValueError(f"{value!r} is no list of names")
    return tuple(_text(name) for name in value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no name")
    return value


def _kind(value: Any) -> str:
    """What the lease is for. It is shown on terminals, so only a plain word is accepted."""
    text = _text(value)
    return text if text.isascii() and text.isalpha() and len(text) <= _LONGEST_KIND else "unknown"


def _turn(line: bytes) -> int:
    """The turn; 0 if it can't be read. Leases within this one then count by themselves: safe."""
    digits = line.strip()
    return int(digits) if digits.isdigit() and len(digits) <= _TURN_DIGITS else 0
