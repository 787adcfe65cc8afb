"""The search space: one axis for each parameter, or for each group of linked parameters."""

from __future__ import annotations

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.search.arguments import find_misspelt, parse_option
from simple_gpu_scheduler.search.spaces.choices import Choices, Listed
from simple_gpu_scheduler.search.template import check_parameter_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from simple_gpu_scheduler.search.arguments import Options

MAX_LISTED = 1000  # a distribution with up to so many values is computed beforehand
DISTRIBUTIONS = ("uniform:", "loguniform:", "int:", "logint:", "normal:")


class Axis:
    """Parameters that vary together. `size` is the number of their values; None: endless."""

    def __init__(self, names: Sequence[str], columns: Sequence[Choices]) -> None:
        self.names = tuple(names)
        self.columns = tuple(columns)
        self.size = columns[0].size
        self._value_at = [
            (name, column.value_at) for name, column in zip(names, columns, strict=True)
        ]
        self._draw = [(name, column.draw) for name, column in zip(names, columns, strict=True)]

    @property
    def count(self) -> int:
        """The size of an axis that is known to be finite."""
        assert self.size is not None
        return self.size

    def fill(self, values: dict[str, object], index: int) -> None:
        """Set the parameters of the axis to their values at the index."""
        for name, value_at in self._value_at:
            values[name] = value_at(index)

    def fill_from_fraction(self, values: dict[str, object], bits: int, width: int) -> None:
        """Set the parameters of the axis to their values for the fraction bits / 2**width."""
        for name, draw in self._draw:
            values[name] = draw(bits, width)


class Space:
    """All axes in order; the last varies fastest."""

    def __init__(self, axes: Sequence[Axis]) -> None:
        self.axes = tuple(axes)
        self.columns = {
            name: column
            for axis in axes
            for name, column in zip(axis.names, axis.columns, strict=True)
        }

        self._fastest_first = [(axis, axis.size or 1) for axis in reversed(self.axes)]

    def endless(self) -> list[str]:
        """The names of the parameters without a finite list of values."""
        return [name for name, column in self.columns.items() if column.size is None]

    def size(self) -> int:
        """The number of combinations; every axis must be finite."""
        product = 1
        for axis in self.axes:
            product *= axis.count
        return product

    def combination(self, index: int) -> dict[str, object]:
        """The combination at the index; the last axis varies fastest."""
        values: dict[str, object] = {}
        for axis, size in self._fastest_first:
            index, digit = divmod(index, size)
            axis.fill(values, digit)
        return values


def build(options: Options) -> Space:
    """Make the space from -p and --link.

    Raises:
        UsageError: a parameter, its values or a link is wrong.
    """
    if not options.parameters:
        raise UsageError("no parameters given; add -p NAME VALUE... for each placeholder")
    columns: dict[str, Choices] = {}
    for name, values in options.parameters:
        check_parameter_name(name)
        if name in columns:
            raise UsageError(f"-p {name} is given twice; give all its values after one -p")
        columns[name] = _choices(name, values)
    return Space(_axes(columns, options.links))


def _choices(name: str, values: Sequence[str]) -> Choices:
    if not values:
        raise UsageError(f"-p {name} has no values; write -p {name} VALUE...")
    written = [value for value in values if value.startswith(DISTRIBUTIONS)]
    if written and len(values) > 1:
        raise UsageError(
            f"-p {name}: the distribution {written[0]} must be the only value; "
            f"write ={written[0]} for the text itself"
        )
    if written:
        from simple_gpu_scheduler.search.spaces import distributions

        choices = distributions.parse(name, written[0])
        if choices.size is None or choices.size > MAX_LISTED:
            return choices
        values = [choices.value_at(index) for index in range(choices.size)]
    else:
        values = [unescape(value) for value in values]
    return Listed(values)


def unescape(value: str) -> str:
    """Remove the = that marks a value as plain text, not a distribution or an option."""
    if value.startswith("="):
        bare = value.lstrip("=")
        is_option = parse_option(bare) is not None or find_misspelt(bare) is not None
        if bare == "--" or bare.startswith(DISTRIBUTIONS) or is_option:
            return value[1:]
    return value


def _axes(columns: dict[str, Choices], links: Iterable[Sequence[str]]) -> list[Axis]:
    """Make an axis for each parameter; linked ones share the axis of the first of them."""
    group_of: dict[str, Sequence[str]] = {name: (name,) for name in columns}
    linked: set[str] = set()
    for link in links:
        _check_link(link, columns, linked)
        linked.update(link)
        group_of.update(dict.fromkeys(link, link))
    axes: dict[int, Axis] = {}
    for name in columns:
        group = group_of[name]
        axes.setdefault(id(group), Axis(group, [columns[member] for member in group]))
    return list(axes.values())


def _check_link(link: Sequence[str], columns: dict[str, Choices], linked: set[str]) -> None:
    if len(link) < 2:
        raise UsageError("--link needs two names or more: --link NAME NAME...")
    for at, name in enumerate(link):
        if name not in columns:
            hint = "the command comes before --link" if "{" in name else "no such -p"
            raise UsageError(f"--link {name!r}: {hint}; known are {', '.join(columns)}")
        if name in linked or name in link[:at]:
            raise UsageError(f"--link {name}: it is linked twice")
        if columns[name].size is None:
            raise UsageError(f"--link {name}: it has no list of values, give it a step or factor")
    first, size = link[0], columns[link[0]].size
    for name in link[1:]:
        if columns[name].size != size:
            raise UsageError(
                f"--link {first} {name}: {first} has {size} values but {name} has "
                f"{columns[name].size}; they must have equally many"
            )
