"""Scrolling through a long list of which only the sizes of its sections are known. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple


class Scroll(NamedTuple):
    """The visible part of a list, and the selected line."""

    cursor: int = 0  #: the selected line
    top: int = 0  #: the first visible line
    job: int | None = None  #: the cursor follows this job; None: it stays in its line

    @property
    def row(self) -> int:
        """The cursor's line on the screen."""
        return self.cursor - self.top


class Slice(NamedTuple):
    """Successive lines of a section."""

    section: str
    first: int
    length: int


def clamp(scroll: Scroll, total: int, rows: int) -> Scroll:
    """The nearest scroll that fits a list of `total` lines, with the cursor on the screen."""
    cursor = max(0, min(scroll.cursor, total - 1))
    top = max(0, min(scroll.top, total - rows))
    top = max(min(top, cursor), cursor - max(1, rows) + 1)
    return Scroll(cursor, top, scroll.job)


def move_to(cursor: int, scroll: Scroll, total: int, rows: int) -> Scroll:
    """The scroll after the cursor moves to another line."""
    return clamp(Scroll(max(0, cursor), scroll.top), total, rows)


def follow_job(scroll: Scroll, job_line: int | None, total: int, rows: int) -> Scroll:
    """The scroll after the list has changed.

    Args:
        job_line: the new line of the job that the cursor follows; None if it left the list.
    """
    if job_line is None:
        return clamp(scroll._replace(job=None), total, rows)
    return clamp(Scroll(job_line, job_line - scroll.row, scroll.job), total, rows)


def slice_sections(
    sizes: Mapping[str, int], order: Sequence[str], first: int, most: int
) -> list[Slice]:
    """The slices of the sections that make up `most` lines of the list from `first` on."""
    return list(_slice_sections(sizes, order, max(0, first), first + most))


def _slice_sections(
    sizes: Mapping[str, int], order: Sequence[str], first: int, end: int
) -> Iterator[Slice]:
    before = 0
    for name in order:
        begin = max(first, before)
        after = before + sizes[name]
        if begin < min(end, after):
            yield Slice(name, begin - before, min(end, after) - begin)
        before = after


def find_line(
    sizes: Mapping[str, int], order: Sequence[str], section: str, rank: int
) -> int | None:
    """The line in the list of the job with this rank in a section; None if not listed."""
    if section not in order:
        return None
    return sum(sizes[name] for name in order[: order.index(section)]) + rank
