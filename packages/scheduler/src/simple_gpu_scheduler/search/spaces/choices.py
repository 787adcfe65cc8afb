"""The values of one parameter, found by an index or by a random fraction."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Choices:
    """The values that a parameter can take."""

    size: int | None  # None: endless

    def value_at(self, index: int) -> str:
        """The value at the index; only finite choices have one."""
        raise NotImplementedError

    def draw(self, bits: int, width: int) -> str:
        """The value for the fraction bits / 2**width, which is at least 0 and less than 1."""
        assert self.size is not None
        return self.value_at(self.size * bits >> width)

    def varies(self) -> bool:
        """Whether there are two different values."""
        return self.size != 1


class Listed(Choices):
    """Values that are listed on the command line."""

    def __init__(self, values: Sequence[str]) -> None:
        self.values = values
        self.size = len(values)

    def value_at(self, index: int) -> str:
        """The value at the index."""
        return self.values[index]

    def varies(self) -> bool:
        """Whether there are two different values."""
        return any(value != self.values[0] for value in self.values)
