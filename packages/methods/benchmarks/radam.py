"""What reading the diagnostics costs beside a step of RAdam, and what RAdam costs beside Adam."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from common import Benchmark, Work

from iclr2020.optimization.radam import Adam2k, diagnose


def _parameters(width: int) -> list[torch.Tensor]:
    made = [torch.randn(width, width, requires_grad=True) for _ in range(8)]
    for one in made:
        one.grad = torch.randn(width, width)
    return made


def _rivals(width: int) -> Mapping[str, Work]:
    watched = torch.optim.RAdam(_parameters(width), lr=1e-6)
    plain = torch.optim.RAdam(_parameters(width), lr=1e-6)
    adam = torch.optim.Adam(_parameters(width), lr=1e-6)
    waits = Adam2k(_parameters(width), lr=1e-6, wait=1)
    return {
        "RAdam and diagnose": lambda: (watched.step(), diagnose(watched)),
        "torch.optim.RAdam": plain.step,
        "torch.optim.Adam": adam.step,
        "Adam2k": waits.step,
    }


BENCHMARKS = [
    Benchmark(
        "A step of RAdam with its diagnostics",
        "width",
        (32, 128, 512),
        _rivals,
        why="the step is torch's own; the diagnostics come on top of it and read one number a "
        "parameter",
    )
]
