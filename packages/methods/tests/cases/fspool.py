"""Pooling of sets."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from iclr2020.sets.fspool import FSPool, FSUnpool

from . import Case


class Pooled(nn.Module):
    """The vectors alone: the order is that of the input, and follows it."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = FSPool(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x)[0]


class AutoEncoder(nn.Module):
    """Pool and unpool."""

    def __init__(self, temperature: float | None = None) -> None:
        super().__init__()
        self.pool, self.unpool = FSPool(2, 3, temperature=temperature), FSUnpool(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.unpool(*self.pool(x))


def _x() -> tuple[Tensor, ...]:
    return (torch.randn(4, 2, 5),)


def _wrong() -> tuple[Tensor, ...]:
    return (torch.randn(4, 3, 5),)


CASES = [
    Case("FSPool", Pooled, _x, _wrong, permuted=2),
    Case("FSUnpool", AutoEncoder, _x, _wrong, permuted=2, equivariant=True),
    Case("relaxed", partial(AutoEncoder, 0.5), _x, _wrong, permuted=2, equivariant=True),
]
