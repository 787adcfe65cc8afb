"""CCU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iclr2020.uncertainty.ccu import CCU, Metric, Mixture

from . import Case


def _make() -> nn.Module:
    torch.manual_seed(0)
    metric = Metric(torch.eye(3))
    inside = Mixture(torch.randn(2, 3), torch.ones(2), torch.ones(2), metric)
    outside = Mixture(torch.randn(2, 3), 2 * torch.ones(2), torch.ones(2), metric)
    return CCU(nn.Linear(3, 4), inside, outside)


def _x() -> tuple[Tensor, ...]:
    return (torch.randn(5, 3),)


def _wrong() -> tuple[Tensor, ...]:
    return (torch.randn(5, 2, 3),)


CASES = [Case("CCU", _make, _x, _wrong, permuted=0, equivariant=True)]
