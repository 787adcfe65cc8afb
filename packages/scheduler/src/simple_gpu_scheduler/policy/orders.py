"""The orders that a user may choose: which job starts first, and on which GPUs with room.

fifo         strict: the first job that can't start holds back all jobs behind it
backfill     jobs behind it may start: those that don't delay it, and a few others
best-fit     strict, on the GPUs where the job leaves least free
frag         strict, on the GPUs whose free rest stays most useful to the other jobs
backfill-best-fit, backfill-frag   both
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.policy.model import PipePolicy


class Order(NamedTuple):
    """The meaning of an order's name."""

    backfill: bool  #: jobs behind the held one may start
    cards: str  #: which GPUs: spread (least loaded first), pack (leaving least free) or frag


ORDERS = {
    "fifo": Order(backfill=False, cards="spread"),
    "backfill": Order(backfill=True, cards="spread"),
    "best-fit": Order(backfill=False, cards="pack"),
    "frag": Order(backfill=False, cards="frag"),
    "backfill-best-fit": Order(backfill=True, cards="pack"),
    "backfill-frag": Order(backfill=True, cards="frag"),
}

#: The order for jobs that ask for memory. benchmarks/PLACEMENT.md shows why.
PACKING_ORDER = "backfill-frag"

PLACEMENTS = ("default", "pack", "spread")


def order_of(policy: PipePolicy) -> Order:
    """The order of a policy, with its placement.

    Raises:
        UsageError: no order or placement has that name.
    """
    order = ORDERS.get(policy.order)
    if order is None:
        raise UsageError(f"order {_unknown(policy.order, ORDERS)}")
    if policy.placement not in PLACEMENTS:
        raise UsageError(f"placement {_unknown(policy.placement, PLACEMENTS)}")
    return order if policy.placement == "default" else order._replace(cards=policy.placement)


def _unknown(name: str, names: Iterable[str]) -> str:
    return f"{name!r}: expected one of {', '.join(names)}"
