"""Networks of sets."""

from __future__ import annotations

import torch
from torch import Tensor

from iclr2020.sets.equivariant import EquivariantLinear, deep_sets, point_net, point_net_st

from . import Case


def _x() -> tuple[Tensor, ...]:
    return (torch.randn(4, 5, 2),)


def _wrong() -> tuple[Tensor, ...]:
    return (torch.randn(4, 5, 3),)


WIDTHS = [2, 6, 5, 3]
CASES = [
    Case("EquivariantLinear", lambda: EquivariantLinear(2, 3), _x, _wrong, permuted=1,
         equivariant=True),
    Case("DeepSets", lambda: deep_sets(WIDTHS), _x, _wrong, permuted=1, equivariant=True),
    Case("PointNet", lambda: point_net(WIDTHS), _x, _wrong, permuted=1, equivariant=True),
    Case("PointNetST", lambda: point_net_st(WIDTHS), _x, _wrong, permuted=1, equivariant=True),
]  # fmt: skip
