"""The loss of Deep SAD against a loop over the batch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from common import Benchmark, Work
from torch import Tensor

from iclr2020.anomaly.deep_sad import deep_sad_loss


def _inputs(batch: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.rand(batch, requires_grad=True), torch.randint(-1, 2, (batch,))


def looped(distance: Tensor, labels: Tensor) -> Tensor:
    """The definition, one example after the other."""
    terms = [
        d if y == 0 else (d + 1e-6) ** y
        for d, y in zip(distance.unbind(), labels.tolist(), strict=True)
    ]
    return torch.stack(terms).mean()


def _rivals(batch: int) -> Mapping[str, Work]:
    inputs = _inputs(batch)
    return {
        "deep_sad_loss": lambda: deep_sad_loss(*inputs).backward(),
        "loop": lambda: looped(*inputs).backward(),
    }


def _same(batch: int) -> None:
    torch.testing.assert_close(deep_sad_loss(*_inputs(batch)), looped(*_inputs(batch)))


BENCHMARKS = [Benchmark("Loss of Deep SAD", "batch", (32, 256, 2048), _rivals, same=_same)]
