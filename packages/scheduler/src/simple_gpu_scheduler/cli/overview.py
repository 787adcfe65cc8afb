"""`sgs` alone: what runs, what waits and which GPUs are free, at a glance. It creates nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.queue.home import QueueHome, home_if_any
from simple_gpu_scheduler.queue.records import OPEN_STATES
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.text.terminal import crop

_WAITING = 5  #: so many of those that wait are shown
_LAST = "sgs --help shows what else there is."

#: What each state of a GPU is called here, in this order.
_STATES = {
    "free": "free",
    "shared": "shared",
    "leased": "held",
    "used": "used without a lease",
    "fault": "at fault",
}


def overview() -> list[str]:
    """All of it.

    Raises:
        SgsError: the queue can't be read.
    """
    from simple_gpu_scheduler.cli.queue.listing import terminal_columns

    width = terminal_columns()
    home = home_if_any()
    lines = [f"GPUs   {gpus_in_words(gpus_and_states(home))}", *_queue(home, width), "", _LAST]
    return [line if width is None else crop(line, width) for line in lines]


def gpus_in_words(found: Sequence[tuple[str, str]] | None) -> str:
    """`2 free (0,3), 1 held (1)`.

    Args:
        found: the name and the state of each; None: nobody knows of any.
    """
    if found is None:
        return (
            "none known: no driver answers, and the queue has no slots (sgs server start --gpus)"
        )
    names = {state: [name for name, one in found if one == state] for state in _STATES}
    parts = [
        f"{len(names[state])} {word} ({printable(','.join(names[state]))})"
        for state, word in _STATES.items()
        if names[state]
    ]
    return ", ".join(parts) or "none"


def gpus_and_states(home: QueueHome | None) -> list[tuple[str, str]] | None:
    """The machine's, where a driver answers; else the slots that the queue was given."""
    from simple_gpu_scheduler.allocation.gpu_status import read_gpu_status
    from simple_gpu_scheduler.cli.gpus.table import short_names

    try:
        seen = read_gpu_status()
    except SgsError:
        words = "" if home is None else home.store.setting("gpus")
        return _slots(words.split(",")) if words else None
    return [
        (name, one.state)
        for name, (_, one) in zip(short_names([gpu for gpu, _ in seen]), seen, strict=True)
    ]


def _slots(names: Sequence[str]) -> list[tuple[str, str]]:
    from simple_gpu_scheduler.jobs.job import GPU_UNITS
    from simple_gpu_scheduler.leases.directory import lease_dir
    from simple_gpu_scheduler.leases.ledger import taken
    from simple_gpu_scheduler.leases.store import live_leases

    held = taken(live_leases(lease_dir()))
    states = []
    for name in names:
        units = held[name].units if name in held else 0
        states.append("leased" if units >= GPU_UNITS else "shared" if units else "free")
    return list(zip(names, states, strict=True))


def _queue(home: QueueHome | None, width: int | None) -> list[str]:
    if home is None:
        return ["Queue  empty"]
    from simple_gpu_scheduler.cli.queue.listing import Query, lines, read_listing

    seen = read_listing(home, Query(OPEN_STATES, None, None, _WAITING))
    *jobs, summary = lines(seen._replace(server=""), time.time(), width)
    summary = f"Queue  {summary if seen.counts else 'empty'}"
    return [summary, *([seen.server] if seen.server else []), *([""] if jobs else []), *jobs]
