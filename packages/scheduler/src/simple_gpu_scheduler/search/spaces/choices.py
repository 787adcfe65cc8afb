"""The values of one parameter, by index or by a random fraction."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Choices:
    """A finite choice of `size` values, or an endless one whose size is None."""

    size: int | None

    def at(self, index: int) -> str:
        """The value at the index, of a finite choice."""
        raise NotImplementedError

    def drawn(self, bits: int, width: int) -> str:
        """The value for the fraction bits / 2**width, from 0 to below 1."""
        assert self.size is not None
        return self.at(self.size * bits >> width)

    def varies(self) -> bool:
        """Whether there are two different values."""
        return self.size != 1


class Listed(Choices):
    """Values written out on the command line."""

    def __init__(self, values: Sequence[str]) -> None:
        self.values = values
        self.size = len(values)

    def at(self, index: int) -> str:
        """The value at the index."""
        return self.values[index]

    def varies(self) -> bool:
        """Whether there are two different values."""
        return any(value != self.values[0] for value in self.values)
