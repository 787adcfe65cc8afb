"""Clipped gradient descent against torch's clipping and SGD."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from common import Benchmark, Work
from torch import Tensor

from iclr2020.optimization.clipping import ClippedGD


def _parameters(width: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(width, width, generator=generator, requires_grad=True) for _ in range(8)]
    for one in made:
        one.grad = torch.randn(width, width, generator=generator)
    return made


def _theirs(parameters: list[Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.SGD(parameters, lr=1e-6)
    kept = [one.grad for one in parameters]

    def step() -> None:
        for one, gradient in zip(parameters, kept, strict=True):
            one.grad = gradient.clone() if gradient is not None else None  # it is changed in place
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return step


def _rivals(width: int) -> Mapping[str, Work]:
    ours = ClippedGD(_parameters(width), lr=1e-6, clip=1.0)
    return {
        "ClippedGD": ours.step,
        "clip_grad_norm_ + SGD": _theirs(_parameters(width)),
    }


def _same(width: int) -> None:
    ours, theirs = _parameters(width), _parameters(width)
    ClippedGD(ours, lr=1e-6, clip=1.0).step()
    _theirs(theirs)()
    for left, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(left, right)


BENCHMARKS = [Benchmark("Clipped gradient descent", "width", (32, 128, 512), _rivals, same=_same)]
