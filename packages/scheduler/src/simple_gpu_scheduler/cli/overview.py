"""`sgs` alone: what runs, what waits and which GPUs are free. It creates no file."""

from __future__ import annotations

import time
from collections.abc import Sequence

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.queue.home import QueueHome, home_if_any
from simple_gpu_scheduler.queue.records import OPEN_STATES
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.text.terminal import crop

_WAITING = 5  #: number of waiting jobs that are shown
_LAST = "sgs --help shows what else there is."

#: The words for each state of a GPU, in the order in which they are printed.
_STATES = {
    "free": "free",
    "shared": "shared",
    "leased": "leased",
    "used": "used without a lease",
    "fault": "at fault",
}


def overview() -> list[str]:
    """Return the lines: GPUs, queue, and where to find help.

    Raises:
        SgsError: the queue can't be read.
    """
    from simple_gpu_scheduler.cli.queue.listing import terminal_columns

    width = terminal_columns()
    home = home_if_any()
    lines = [f"GPUs   {describe_gpus(read_gpu_states(home))}", *_queue(home, width), "", _LAST]
    return [line if width is None else crop(line, width) for line in lines]


def describe_gpus(gpus: Sequence[tuple[str, str]] | None) -> str:
    """Return a text such as `2 free (0,3), 1 leased (1)`.

    Args:
        gpus: the id and the state of each GPU; None: no GPU is known.
    """
    if gpus is None:
        return "none known: no driver answers, and the queue has no GPUs (sgs server start --gpus)"
    names = {state: [name for name, own in gpus if own == state] for state in _STATES}
    parts = [
        f"{len(names[state])} {word} ({printable(','.join(names[state]))})"
        for state, word in _STATES.items()
        if names[state]
    ]
    return ", ".join(parts) or "none"


def read_gpu_states(home: QueueHome | None) -> list[tuple[str, str]] | None:
    """Return the id and the state of each GPU, as `describe_gpus` takes them.

    Without a driver, they are the names that `sgs server start --gpus` was given.
    """
    from simple_gpu_scheduler.allocation.gpu_status import read_gpu_status
    from simple_gpu_scheduler.cli.gpus.table import short_names

    try:
        gpus = read_gpu_status()
    except SgsError:
        names = "" if home is None else home.store.setting("gpus")
        return _states_by_leases(names.split(",")) if names else None
    ids = short_names([gpu for gpu, _ in gpus])
    return [(name, occupancy.state) for name, (_, occupancy) in zip(ids, gpus, strict=True)]


def _states_by_leases(names: Sequence[str]) -> list[tuple[str, str]]:
    from simple_gpu_scheduler.jobs.job import GPU_UNITS
    from simple_gpu_scheduler.leases.directory import lease_dir
    from simple_gpu_scheduler.leases.ledger import taken
    from simple_gpu_scheduler.leases.store import live_leases

    leased = taken(live_leases(lease_dir()))
    states = []
    for name in names:
        units = leased[name].units if name in leased else 0
        states.append("leased" if units >= GPU_UNITS else "shared" if units else "free")
    return list(zip(names, states, strict=True))


def _queue(home: QueueHome | None, width: int | None) -> list[str]:
    if home is None:
        return ["Queue  empty"]
    from simple_gpu_scheduler.cli.queue.listing import Query, lines, read_listing

    listing = read_listing(home, Query(OPEN_STATES, None, None, _WAITING))
    problem = [listing.problem] if listing.problem else []
    *jobs, counts = lines(listing._replace(problem=""), time.time(), width)
    summary = f"Queue  {counts if listing.counts else 'empty'}"
    return [summary, *problem, *([""] if jobs else []), *jobs]
