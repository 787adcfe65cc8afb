"""Flows: zuko's alone, and GIN's coupling beside an affine one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from common import Benchmark, Work
from torch import Tensor
from zuko.flows import RealNVP

from iclr2020.flows.gin import GIN
from iclr2020.flows.normalizing import autoregressive, real_nvp

D = 16


def _x(count: int) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(count, D)


def _rivals(count: int) -> Mapping[str, Work]:
    x = _x(count)
    ours, theirs = real_nvp(D), RealNVP(D, transforms=4, hidden_features=(64, 64))
    lu, maf = real_nvp(D, lu=True), autoregressive(D, layers=4)
    return {
        "real_nvp": lambda: ours().log_prob(x).sum().backward(),
        "zuko.flows.RealNVP": lambda: theirs().log_prob(x).sum().backward(),
        "with LU": lambda: lu().log_prob(x).sum().backward(),
        "autoregressive": lambda: maf().log_prob(x).sum().backward(),
    }


def _gin(count: int) -> Mapping[str, Work]:
    x, ours = _x(count), GIN(D, layers=2)
    theirs = RealNVP(D, transforms=4, hidden_features=(64, 64))  # each transforms one half
    return {
        "GIN": lambda: ours(x).sum().backward(),
        "zuko.flows.RealNVP": lambda: theirs().log_prob(x).sum().backward(),
    }


BENCHMARKS = [
    Benchmark("Densities of flows, forward and backward", "rows", (64, 1024), _rivals),
    Benchmark("GIN, forward and backward", "rows", (64, 1024), _gin),
]
