"""Where in a long list we are. Pure: the list is only known by the sizes of its sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple


class Scroll(NamedTuple):
    """What is shown of a list, and which line is chosen."""

    cursor: int = 0  #: the chosen line
    top: int = 0  #: the first that is shown
    job: int | None = None  #: the cursor goes with this job; None: it stays where it is

    @property
    def row(self) -> int:
        """The cursor's line on the screen."""
        return self.cursor - self.top


class Slice(NamedTuple):
    """Some lines of a section."""

    section: str
    first: int
    most: int


def within(scroll: Scroll, total: int, rows: int) -> Scroll:
    """The nearest scroll of a list of that length, with the cursor on the screen."""
    cursor = max(0, min(scroll.cursor, total - 1))
    top = max(0, min(scroll.top, total - rows))
    top = max(min(top, cursor), cursor - max(1, rows) + 1)
    return Scroll(cursor, top, scroll.job)


def moved(cursor: int, scroll: Scroll, total: int, rows: int) -> Scroll:
    """The scroll after the cursor was moved to another line."""
    return within(Scroll(max(0, cursor), scroll.top), total, rows)


def followed(scroll: Scroll, at: int | None, total: int, rows: int) -> Scroll:
    """The scroll after the list has changed.

    Args:
        at: where the job is now that the cursor goes with; None if it isn't in the list.
    """
    if at is None:
        return within(scroll._replace(job=None), total, rows)
    return within(Scroll(at, at - scroll.row, scroll.job), total, rows)


def slices(sizes: Mapping[str, int], order: Sequence[str], first: int, most: int) -> list[Slice]:
    """What to read of each section for so many lines of the list."""
    return list(_slices(sizes, order, max(0, first), first + most))


def _slices(
    sizes: Mapping[str, int], order: Sequence[str], first: int, end: int
) -> Iterator[Slice]:
    before = 0
    for name in order:
        begin = max(first, before)
        after = before + sizes[name]
        if begin < min(end, after):
            yield Slice(name, begin - before, min(end, after) - begin)
        before = after


def position(
    sizes: Mapping[str, int], order: Sequence[str], section: str, rank: int
) -> int | None:
    """The line of a section's job in the list; None if the section isn't in it."""
    if section not in order:
        return None
    return sum(sizes[name] for name in order[: order.index(section)]) + rank
