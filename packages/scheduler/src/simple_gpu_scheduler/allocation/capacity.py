"""What others leave of one GPU for one scheduler. Pure."""

from __future__ import annotations

from collections.abc import Container, Sequence

from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.leases.records import GpuShare, LeaseRecord
from simple_gpu_scheduler.policy.model import Card


def without_share(card: Card, share: GpuShare | None) -> Card:
    """The GPU without what others have taken of it: leased, or reserved for their tickets."""
    if share is None:
        return card
    return card._replace(
        used_units=min(GPU_UNITS, card.used_units + share.units),
        leased_mib=card.leased_mib + share.memory_mib,
    )


def within(card: Card, lease: LeaseRecord) -> Card:
    """The GPU for a program that runs within a lease on it.

    The lease's memory is all there is, and nobody else uses it.
    """
    if lease.memory_mib is None:
        return card
    size_mib = (
        lease.memory_mib if card.memory_mib is None else min(card.memory_mib, lease.memory_mib)
    )
    return card._replace(memory_mib=size_mib, strangers_mib=0, observed_mib=0)


def kept_free(cards: Sequence[Card], busy: Container[str], count: int) -> set[str]:
    """The names of `count` GPUs that stay free for others (--keep-free), the last ones first.

    Args:
        busy: the GPUs on which we run jobs already; they stay ours.
    """
    free = [card.name for card in cards if not card.used_units and card.name not in busy]
    return set(free[max(0, len(free) - count) :]) if count else set()


def closed(card: Card) -> Card:
    """The GPU with no room for us."""
    return card._replace(used_units=GPU_UNITS)


def is_touched(card: Card) -> bool:
    """True if others have a part of the GPU."""
    return bool(card.used_units or card.leased_mib)
