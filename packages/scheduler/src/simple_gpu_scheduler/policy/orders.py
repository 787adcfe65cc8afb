"""The orders a user may choose: who goes first, and on which of the GPUs with room.

fifo         strict: the first job that can't start holds back all behind it
backfill     later jobs start meanwhile: those that don't delay that first one, and a few others
best-fit     strict; on the GPUs where the job leaves least free
frag         strict; on the GPUs whose free rest stays most useful to the jobs seen
backfill-best-fit, backfill-frag   both
"""

from __future__ import annotations

from typing import NamedTuple

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.policy.model import PipePolicy


class Order(NamedTuple):
    """What the name of an order stands for."""

    backfill: bool
    cards: str  #: spread (least loaded first), pack (leaving least free) or frag


ORDERS = {
    "fifo": Order(backfill=False, cards="spread"),
    "backfill": Order(backfill=True, cards="spread"),
    "best-fit": Order(backfill=False, cards="pack"),
    "frag": Order(backfill=False, cards="frag"),
    "backfill-best-fit": Order(backfill=True, cards="pack"),
    "backfill-frag": Order(backfill=True, cards="frag"),
}

#: For jobs that say how much memory they need: the choice of benchmarks/PLACEMENT.md.
PACKING_ORDER = "backfill-frag"

PLACEMENTS = ("default", "pack", "spread")


def order_of(policy: PipePolicy) -> Order:
    """The order that a policy names, with its placement.

    Raises:
        UsageError: there is none of that name.
    """
    order = ORDERS.get(policy.order)
    if order is None:
        raise UsageError(f"order {_unknown(policy.order, ORDERS)}")
    if policy.placement not in PLACEMENTS:
        raise UsageError(f"placement {_unknown(policy.placement, PLACEMENTS)}")
    return order if policy.placement == "default" else order._replace(cards=policy.placement)


def _unknown(name: str, known: dict[str, Order] | tuple[str, ...]) -> str:
    return f"{name!r}: expected one of {', '.join(known)}"
