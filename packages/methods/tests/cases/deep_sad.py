"""Deep SAD."""

from __future__ import annotations

import torch
from torch import Tensor

from iclr2020.anomaly.deep_sad import DeepSAD, dense_encoder

from . import Case


def _x() -> tuple[Tensor, ...]:
    return (torch.randn(4, 3),)


CASES = [
    Case("DeepSAD", lambda: DeepSAD(dense_encoder(3, (5,), 2), 2), _x,
         lambda: (torch.randn(4, 2, 3),), permuted=0, equivariant=True),
]  # fmt: skip
