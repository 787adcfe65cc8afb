"""Where in a long list we are. Pure: the list is only known by the sizes of its sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple


class Place(NamedTuple):
    """What is shown of a list, and which line is chosen."""

    cursor: int = 0  #: the chosen line
    top: int = 0  #: the first that is shown
    job: int | None = None  #: the cursor goes with this job; None: it stays where it is

    @property
    def row(self) -> int:
        """The cursor's line on the screen."""
        return self.cursor - self.top


class Part(NamedTuple):
    """Some lines of a section."""

    section: str
    first: int
    most: int


def within(place: Place, total: int, rows: int) -> Place:
    """The nearest place of a list of that length, with the cursor on the screen."""
    cursor = max(0, min(place.cursor, total - 1))
    top = max(0, min(place.top, total - rows))
    top = max(min(top, cursor), cursor - max(1, rows) + 1)
    return Place(cursor, top, place.job)


def moved(cursor: int, place: Place, total: int, rows: int) -> Place:
    """The place after the cursor was moved to another line."""
    return within(Place(max(0, cursor), place.top), total, rows)


def followed(place: Place, at: int | None, total: int, rows: int) -> Place:
    """The place after the list has changed.

    Args:
        at: where the job is now that the cursor goes with; None if it isn't in the list.
    """
    if at is None:
        return within(place._replace(job=None), total, rows)
    return within(Place(at, at - place.row, place.job), total, rows)


def parts(sizes: Mapping[str, int], order: Sequence[str], first: int, most: int) -> list[Part]:
    """What to read of each section for so many lines of the list."""
    return list(_parts(sizes, order, max(0, first), first + most))


def _parts(sizes: Mapping[str, int], order: Sequence[str], first: int, end: int) -> Iterator[Part]:
    before = 0
    for name in order:
        begin = max(first, before)
        after = before + sizes[name]
        if begin < min(end, after):
            yield Part(name, begin - before, min(end, after) - begin)
        before = after


def position(
    sizes: Mapping[str, int], order: Sequence[str], section: str, rank: int
) -> int | None:
    """The line of a section's job in the list; None if the section isn't in it."""
    if section not in order:
        return None
    return sum(sizes[name] for name in order[: order.index(section)]) + rank
