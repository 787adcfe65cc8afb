"""Renders the lines of a grid quickly: most text of a line is made once for many lines.

Neighbouring axes form groups with a limited number of combinations. Adjacent placeholders that
depend on the same group form a run. The texts of a run are made once for each combination of its
group, and lines are joined from them.
"""

from __future__ import annotations

from itertools import islice, repeat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from simple_gpu_scheduler.search.spaces.space import Axis, Space
    from simple_gpu_scheduler.search.template import Placeholder, Template

    Render = Callable[[Placeholder, Mapping[str, object]], str]

MAX_GROUP = 2**14  # combinations
MAX_TEXT = 2**20  # characters in the lines of a group, roughly
MAX_BATCH = 1024  # lines


class Group:
    """Neighbouring axes whose combinations are numbered together; the last varies fastest."""

    def __init__(self, axes: Sequence[Axis], max_table: int) -> None:
        self.size = 1
        self.max_table = max_table  # more texts than these are not worth their memory
        self.strides: dict[str, tuple[Axis, int]] = {}
        for axis in reversed(axes):
            self.strides.update(dict.fromkeys(axis.names, (axis, self.size)))
            self.size *= axis.count


class PlaceholderRun:
    """Adjacent placeholders that depend on the same group."""

    def __init__(self, group: Group, placeholders: Sequence[Placeholder], render: Render) -> None:
        self.group = group
        self._parts = [
            _PlaceholderTexts(placeholder, group, render) for placeholder in placeholders
        ]
        self._table: list[str] = []
        if group.size <= group.max_table:
            self._table = [self._make_text(index) for index in range(group.size)]
        self.text_at = self._table.__getitem__ if self._table else self._make_text

    def texts(self, start: int, stop: int) -> list[str]:
        """The texts for the combinations `start` to `stop` - 1 of the group."""
        if self._table:
            return self._table[start:stop]
        return [self._make_text(index) for index in range(start, stop)]

    def _make_text(self, index: int) -> str:
        return "".join([part.text_at(index) for part in self._parts])


class _PlaceholderTexts:
    """The texts of one placeholder for each value; in a table if the values are few."""

    def __init__(self, placeholder: Placeholder, group: Group, render: Render) -> None:
        self._placeholder, self._render = placeholder, render
        self._axis, self._stride = group.strides[placeholder.name]
        self._size = self._axis.count
        self._table: list[str] = []
        if self._size <= group.max_table:
            self._table = [self._make_text(digit) for digit in range(self._size)]

    def text_at(self, index: int) -> str:
        """The literal text and the value, for a combination of the group."""
        digit = index // self._stride % self._size
        return self._table[digit] if self._table else self._make_text(digit)

    def _make_text(self, digit: int) -> str:
        values: dict[str, object] = {}
        self._axis.fill(values, digit)
        return self._placeholder.literal + self._render(self._placeholder, values)


class Grid:
    """The lines of a grid in which each placeholder depends on one parameter."""

    def __init__(self, space: Space, template: Template, render: Render, end: str) -> None:
        first = space.combination(0)
        length = sum(
            len(placeholder.literal) + len(render(placeholder, first))
            for placeholder in template.placeholders
        )
        self.max_table = max(1, min(MAX_GROUP, MAX_TEXT // max(1, length)))
        self.groups = _group_axes(space.axes, self.max_table)
        self.runs = _find_runs(self.groups, template.placeholders, render)
        self.end = template.tail + end

    def blocks_in_order(self, limit: int) -> Iterator[str]:
        """The first `limit` lines of the grid in order, in blocks."""
        *outer, inner = self.groups
        for index in range(_count_combinations(outer)):
            digits = _split_index(outer, index)
            for start in range(0, inner.size, self.max_table):
                stop = min(start + self.max_table, inner.size, start + limit)
                yield self._block(digits, start, stop)
                limit -= stop - start
                if not limit:
                    return

    def _block(self, digits: Mapping[Group, int], start: int, stop: int) -> str:
        """Lines `start` to `stop` - 1 of the inner group, with the outer groups fixed."""
        columns: list[Iterable[str]] = []
        fixed = ""
        for run in self.runs:
            if run.group in digits:
                fixed += run.text_at(digits[run.group])
            else:
                columns += [repeat(fixed), run.texts(start, stop)]
                fixed = ""
        fixed += self.end
        if len(columns) == 2:
            head = next(iter(columns[0]))
            return head + (fixed + head).join(columns[1]) + fixed
        return "".join(map("".join, zip(*columns, repeat(fixed, stop - start), strict=False)))

    def blocks_at(self, indices: Iterable[int]) -> Iterator[str]:
        """The lines at the indices, in blocks; the first are small, so that they come early."""
        indices = iter(indices)
        size = 1
        while batch := list(islice(indices, size)):
            yield self._block_at(batch)
            size = min(2 * size, MAX_BATCH)

    def _block_at(self, indices: list[int]) -> str:
        """One line for each index."""
        first, *others = self.groups
        digits: dict[Group, list[int]] = {}
        for group in reversed(others):
            size = group.size
            digits[group] = [index % size for index in indices]
            indices = [index // size for index in indices]
        digits[first] = indices
        columns = [map(run.text_at, digits[run.group]) for run in self.runs]
        return "".join(map("".join, zip(*columns, repeat(self.end), strict=False)))


def _group_axes(axes: Sequence[Axis], largest: int) -> list[Group]:
    """Make groups as large as allowed, from the fastest axis on; an axis is never divided."""
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


def _find_runs(
    groups: Sequence[Group], placeholders: Sequence[Placeholder], render: Render
) -> list[PlaceholderRun]:
    group_of = {name: group for group in groups for name in group.strides}
    runs: list[tuple[Group, list[Placeholder]]] = []
    for placeholder in placeholders:
        group = group_of[placeholder.name]
        if not runs or runs[-1][0] is not group:
            runs.append((group, []))
        runs[-1][1].append(placeholder)
    return [PlaceholderRun(group, adjacent, render) for group, adjacent in runs]


def _count_combinations(groups: Iterable[Group]) -> int:
    product = 1
    for group in groups:
        product *= group.size
    return product


def _split_index(groups: Sequence[Group], index: int) -> dict[Group, int]:
    digits: dict[Group, int] = {}
    for group in reversed(groups):
        index, digits[group] = divmod(index, group.size)
    return digits
