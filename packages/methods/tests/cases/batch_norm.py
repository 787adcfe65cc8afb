"""General batch normalization."""

from __future__ import annotations

import torch
from torch import Tensor

from iclr2020.normalization.batch_norm import GeneralBatchNorm

from . import Case


def _x() -> tuple[Tensor, ...]:
    return (torch.randn(6, 4, 3, 3),)


def _wrong() -> tuple[Tensor, ...]:
    return (torch.randn(6, 3, 3, 3),)


CASES = [
    Case("GeneralBatchNorm", lambda: GeneralBatchNorm(4), _x, _wrong, eval_differs=True,
         permuted=0, equivariant=True),
    Case("GhostBatchNorm", lambda: GeneralBatchNorm(4, examples=2), _x, _wrong, eval_differs=True),
    Case("BatchGroupNorm", lambda: GeneralBatchNorm(4, examples=3, channels=2, alpha=0.3), _x,
         _wrong, eval_differs=True),
    Case("GroupNorm", lambda: GeneralBatchNorm(4, examples=1, channels=2, alpha=1.0), _x, _wrong),
]  # fmt: skip
