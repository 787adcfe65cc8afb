"""GIN."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iclr2020.flows.gin import GIN, GINCoupling

from . import Case


def _moved(module: nn.Module) -> nn.Module:
    """Not the identity any more."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def _make() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)  # the same permutations
        return _moved(GIN(5, layers=2, width=8))


def _x() -> tuple[Tensor, ...]:
    return (torch.randn(4, 5),)


def _wrong() -> tuple[Tensor, ...]:
    return (torch.randn(4, 3),)


CASES = [
    Case("GIN", _make, _x, _wrong, permuted=0, equivariant=True),
    Case("GINCoupling", lambda: _moved(GINCoupling(5, 8)), _x, _wrong, permuted=0,
         equivariant=True),
]  # fmt: skip
