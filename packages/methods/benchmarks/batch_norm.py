"""General batch normalization against PyTorch's layer, and against loops over its parts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from common import Benchmark, Work
from torch import Tensor, nn

from iclr2020.normalization.batch_norm import GeneralBatchNorm, example_weighing

BATCH, CHANNELS = 32, 32


def _x(side: int) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(BATCH, CHANNELS, side, side, requires_grad=True)


def _train(side: int) -> Mapping[str, Work]:
    x, ours, theirs = _x(side), GeneralBatchNorm(CHANNELS), nn.BatchNorm2d(CHANNELS)
    ghost = GeneralBatchNorm(CHANNELS, examples=4)

    def looped() -> None:
        torch.cat([theirs(part) for part in x.split(4)]).sum().backward()

    return {
        "GeneralBatchNorm": lambda: ours(x).sum().backward(),
        "nn.BatchNorm2d": lambda: theirs(x).sum().backward(),
        "ghost": lambda: ghost(x).sum().backward(),
        "ghost, by a loop": looped,
    }


def _infer(side: int) -> Mapping[str, Work]:
    x, theirs = _x(side).detach(), nn.BatchNorm2d(CHANNELS).eval()

    def weighed() -> None:
        with example_weighing(theirs, 0.1):
            theirs(x)

    return {"example_weighing": weighed, "nn.BatchNorm2d": lambda: theirs(x)}


def _same(side: int) -> None:
    x = _x(side)
    torch.testing.assert_close(
        GeneralBatchNorm(CHANNELS)(x), nn.BatchNorm2d(CHANNELS)(x), rtol=1e-3, atol=1e-3
    )


BENCHMARKS = [
    Benchmark(
        "General batch normalization, forward and backward",
        "side",
        (4, 16, 32),
        _train,
        same=_same,
        why="nn.BatchNorm2d is one fused kernel; ours reads the input for the moments and again "
        "to normalize, and keeps it once",
    ),
    Benchmark(
        "Inference example weighing",
        "side",
        (4, 16, 32),
        _infer,
        why="the statistics of each example have to be computed, which nn.BatchNorm2d needs not",
    ),
]
