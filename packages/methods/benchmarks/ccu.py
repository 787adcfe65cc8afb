"""Densities of a mixture in a metric, against torch's distributions and a loop."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from common import Benchmark, Work
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from iclr2020.uncertainty.ccu import Metric, Mixture

D, COMPONENTS = 64, 50


def _made(count: int) -> tuple[Mixture, MixtureSameFamily, Tensor]:
    torch.manual_seed(0)
    means, sigma = torch.randn(COMPONENTS, D), torch.rand(COMPONENTS) + 0.5
    ours = Mixture(means, sigma, torch.ones(COMPONENTS), Metric(torch.eye(D)))
    parts = Independent(Normal(means, sigma[:, None].expand(-1, D)), 1)
    theirs = MixtureSameFamily(Categorical(torch.ones(COMPONENTS)), parts)
    return ours, theirs, torch.randn(count, D)


def _rivals(count: int) -> Mapping[str, Work]:
    ours, theirs, x = _made(count)

    def looped() -> None:
        torch.cat([ours.log_density(row) for row in x.split(1)])

    with torch.no_grad():
        return {
            "Mixture": lambda: ours.log_density(x),
            "torch.distributions": lambda: theirs.log_prob(x),
            "loop": looped,
        }


def _same(count: int) -> None:
    ours, theirs, x = _made(count)
    torch.testing.assert_close(ours.log_density(x), theirs.log_prob(x), rtol=1e-3, atol=1e-3)


BENCHMARKS = [Benchmark("Density of a mixture", "examples", (16, 256, 2048), _rivals, same=_same)]
