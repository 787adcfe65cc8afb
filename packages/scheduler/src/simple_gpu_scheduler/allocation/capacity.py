"""What is left of a card for one scheduler, once others have had theirs. Pure."""

from __future__ import annotations

from collections.abc import Container, Sequence

from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.leases.records import GpuShare, LeaseRecord
from simple_gpu_scheduler.policy.model import Card


def what_is_left(card: Card, others: GpuShare | None) -> Card:
    """The card without what others have leased of it, or were promised."""
    if others is None:
        return card
    return card._replace(
        used_units=min(GPU_UNITS, card.used_units + others.units),
        leased_mib=card.leased_mib + others.memory_mib,
    )


def within(card: Card, lease: LeaseRecord) -> Card:
    """A card of a lease for those who are in it: all that there is of it is theirs alone."""
    if lease.memory_mib is None:
        return card
    size_mib = (
        lease.memory_mib if card.memory_mib is None else min(card.memory_mib, lease.memory_mib)
    )
    return card._replace(memory_mib=size_mib, strangers_mib=0, observed_mib=0)


def kept_free(cards: Sequence[Card], busy: Container[str], number: int) -> set[str]:
    """Cards that are not to be taken, so many, although nobody else has them.

    Args:
        busy: those on which we run already: they stay ours.
    """
    free = [card.name for card in cards if not card.used_units and card.name not in busy]
    return set(free[max(0, len(free) - number) :]) if number else set()


def closed(card: Card) -> Card:
    """The card with no room for us."""
    return card._replace(used_units=GPU_UNITS)


def is_touched(card: Card) -> bool:
    """True if others have something of the card."""
    return bool(card.used_units or card.leased_mib)
