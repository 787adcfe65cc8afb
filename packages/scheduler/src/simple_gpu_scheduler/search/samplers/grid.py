"""Lines of a whole grid, quickly: most text of a line is made once for many lines.

Neighbouring axes form groups of a bounded number of combinations. Pieces of the command that stand
together and belong to one group form a run, whose texts are made once for the group.
"""

from __future__ import annotations

from itertools import islice, repeat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from simple_gpu_scheduler.search.spaces.space import Axis, Space
    from simple_gpu_scheduler.search.template import Part, Pattern

    Render = Callable[[Part, Mapping[str, object]], str]

LARGEST_GROUP = 2**14  # combinations
LARGEST_TEXT = 2**20  # characters of a group's lines, about
LARGEST_BATCH = 1024


class Group:
    """Neighbouring axes, numbered together with the last varying fastest."""

    def __init__(self, axes: Sequence[Axis], largest: int) -> None:
        self.size = 1
        self.largest = largest  # for which a table is worth its memory
        self.strides: dict[str, tuple[Axis, int]] = {}
        for axis in reversed(axes):
            self.strides.update(dict.fromkeys(axis.names, (axis, self.size)))
            self.size *= axis.count


class Repetition:
    """Pieces of the command that stand together and depend on one group."""

    def __init__(self, group: Group, pieces: Sequence[Part], render: Render) -> None:
        self.group = group
        self._parts = [_Part(piece, group, render) for piece in pieces]
        self._table: list[str] = []
        if group.size <= group.largest:
            self._table = [self._made(index) for index in range(group.size)]
        self.at = self._table.__getitem__ if self._table else self._made

    def texts(self, start: int, stop: int) -> list[str]:
        """The texts for these combinations of the group."""
        if self._table:
            return self._table[start:stop]
        return [self._made(index) for index in range(start, stop)]

    def _made(self, index: int) -> str:
        return "".join([part.at(index) for part in self._parts])


class _Part:
    """One piece, with its text for every value where these are few."""

    def __init__(self, piece: Part, group: Group, render: Render) -> None:
        self._piece, self._render = piece, render
        self._axis, self._stride = group.strides[piece.name]
        self._size = self._axis.count
        self._table: list[str] = []
        if self._size <= group.largest:
            self._table = [self._made(digit) for digit in range(self._size)]

    def at(self, index: int) -> str:
        """The literal text and the value for a combination of the group."""
        digit = index // self._stride % self._size
        return self._table[digit] if self._table else self._made(digit)

    def _made(self, digit: int) -> str:
        values: dict[str, object] = {}
        self._axis.fill(values, digit)
        return self._piece.literal + self._render(self._piece, values)


class Grid:
    """The lines of a grid whose placeholders each depend on one parameter."""

    def __init__(self, space: Space, pattern: Pattern, render: Render, end: str) -> None:
        first = space.combination(0)
        length = sum(len(piece.literal) + len(render(piece, first)) for piece in pattern.pieces)
        self.largest = max(1, min(LARGEST_GROUP, LARGEST_TEXT // max(1, length)))
        self.groups = _grouped(space.axes, self.largest)
        self.runs = _runs(self.groups, pattern.pieces, render)
        self.end = pattern.tail + end

    def ordered(self, limit: int) -> Iterator[str]:
        """Blocks of the first lines of the grid in order."""
        *outer, inner = self.groups
        for index in range(_size(outer)):
            digits = _digits(outer, index)
            for start in range(0, inner.size, self.largest):
                stop = min(start + self.largest, inner.size, start + limit)
                yield self._block(digits, start, stop)
                limit -= stop - start
                if not limit:
                    return

    def _block(self, digits: Mapping[Group, int], start: int, stop: int) -> str:
        """Lines start to stop of the inner group, with the outer groups fixed."""
        columns: list[Iterable[str]] = []
        fixed = ""
        for run in self.runs:
            if run.group in digits:
                fixed += run.at(digits[run.group])
            else:
                columns += [repeat(fixed), run.texts(start, stop)]
                fixed = ""
        fixed += self.end
        if len(columns) == 2:
            head = next(iter(columns[0]))
            return head + (fixed + head).join(columns[1]) + fixed
        return "".join(map("".join, zip(*columns, repeat(fixed, stop - start), strict=False)))

    def picked(self, indices: Iterable[int]) -> Iterator[str]:
        """Blocks of the lines at the indices, small at first so that the first is early."""
        indices = iter(indices)
        size = 1
        while batch := list(islice(indices, size)):
            yield self._lines_at(batch)
            size = min(2 * size, LARGEST_BATCH)

    def _lines_at(self, indices: list[int]) -> str:
        """One line for each index."""
        first, *others = self.groups
        digits: dict[Group, list[int]] = {}
        for group in reversed(others):
            size = group.size
            digits[group] = [index % size for index in indices]
            indices = [index // size for index in indices]
        digits[first] = indices
        columns = [map(run.at, digits[run.group]) for run in self.runs]
        return "".join(map("".join, zip(*columns, repeat(self.end), strict=False)))


def _grouped(axes: Sequence[Axis], largest: int) -> list[Group]:
    """Groups as large as they may be, from the fastest axis on; an axis is never cut."""
    groups: list[Group] = []
    members: list[Axis] = []
    size = 1
    for axis in reversed(axes):
        if members and size * axis.count > largest:
            groups.append(Group(members[::-1], largest))
            members, size = [], 1
        members.append(axis)
        size *= axis.count
    groups.append(Group(members[::-1], largest))
    return groups[::-1]


def _runs(groups: Sequence[Group], pieces: Sequence[Part], render: Render) -> list[Repetition]:
    group_of = {name: group for group in groups for name in group.strides}
    found: list[tuple[Group, list[Part]]] = []
    for piece in pieces:
        group = group_of[piece.name]
        if not found or found[-1][0] is not group:
            found.append((group, []))
        found[-1][1].append(piece)
    return [Repetition(group, together, render) for group, together in found]


def _size(groups: Iterable[Group]) -> int:
    product = 1
    for group in groups:
        product *= group.size
    return product


def _digits(groups: Sequence[Group], index: int) -> dict[Group, int]:
    digits: dict[Group, int] = {}
    for group in reversed(groups):
        index, digits[group] = divmod(index, group.size)
    return digits
