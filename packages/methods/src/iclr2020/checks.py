"""Checks of what a user passes, with messages that say what was expected and what came."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

_Number = TypeVar("_Number", int, float)


class ShapeError(ValueError):
    """A tensor has another shape than the one that is documented."""


def sizes(name: str, tensor: Tensor, pattern: str, **known: int) -> tuple[int, ...]:
    """Check a tensor's shape, and return the sizes of its dimensions.

    Args:
        name: what the caller calls the tensor.
        pattern: the names of its dimensions, such as "batch channels n"; a leading "..." stands
            for any number of them, and a number for itself.
        known: the sizes that dimensions have to have, by name.

    Returns:
        One size for each name in the pattern; those of "..." are left out.

    Raises:
        ShapeError: it has another shape.

    Example:
        >>> import torch
        >>> sizes("x", torch.zeros(2, 3), "batch n")
        (2, 3)
        >>> sizes("mask", torch.zeros(2, 4), "batch n", batch=2, n=3)
        Traceback (most recent call last):
        iclr2020.checks.ShapeError: mask: expected shape (batch=2, n=3), got (2, 4)
    """
    names = pattern.split()
    open_ended = names[:1] == ["..."]
    names = names[open_ended:]
    shape = tuple(tensor.shape)
    last = shape[len(shape) - len(names) :] if len(names) <= len(shape) else ()
    fits = len(last) == len(names) and (open_ended or len(shape) == len(names))
    if not fits or any(
        not _is_size(one, size, known) for one, size in zip(names, last, strict=True)
    ):
        wanted = ", ".join(["..."] * open_ended + [_named(one, known) for one in names])
        raise ShapeError(f"{name}: expected shape ({wanted}), got {shape}")
    return last


def positive(name: str, value: _Number) -> _Number:
    """The value, if it is above 0.

    Raises:
        ValueError: it isn't.

    Example:
        >>> positive("k", 0)
        Traceback (most recent call last):
        ValueError: k: expected a number above 0, got 0
    """
    if not value > 0:
        raise ValueError(f"{name}: expected a number above 0, got {value}")
    return value


def between(name: str, value: _Number, least: float, most: float) -> _Number:
    """The value, if it is in the closed interval.

    Raises:
        ValueError: it isn't.

    Example:
        >>> between("alpha", 1.5, 0, 1)
        Traceback (most recent call last):
        ValueError: alpha: expected a number from 0 to 1, got 1.5
    """
    if not least <= value <= most:
        raise ValueError(f"{name}: expected a number from {least} to {most}, got {value}")
    return value


def _is_size(name: str, size: int, known: dict[str, int]) -> bool:
    return size == (int(name) if name.isdecimal() else known.get(name, size))


def _named(name: str, known: dict[str, int]) -> str:
    return f"{name}={known[name]}" if name in known else name
