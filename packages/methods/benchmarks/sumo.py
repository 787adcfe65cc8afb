"""SUMO against a loop over the batch that adds the terms one by one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from common import Benchmark, Work
from torch import Tensor

from iclr2020.generative.sumo import iwae_bounds, sample_terms, sumo, survival


def _inputs(batch: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    terms = sample_terms(batch, generator=generator)
    log_w = torch.randn(1 + int(terms.max()), batch, generator=generator).requires_grad_()
    return log_w, terms


def looped(log_w: Tensor, terms: Tensor) -> Tensor:
    """The definition, one of the batch after the other."""
    estimates = []
    for column, count in zip(log_w.unbind(1), terms.tolist(), strict=True):
        bounds = iwae_bounds(column[: count + 1])
        estimates.append(bounds[0] + (bounds.diff() / survival(torch.arange(1, count + 1))).sum())
    return torch.stack(estimates)


def _rivals(batch: int) -> Mapping[str, Work]:
    log_w, terms = _inputs(batch)
    return {"sumo": lambda: sumo(log_w, terms), "loop": lambda: looped(log_w, terms)}


def _same(batch: int) -> None:
    torch.testing.assert_close(
        sumo(*_inputs(batch)), looped(*_inputs(batch)), rtol=1e-3, atol=1e-3
    )


BENCHMARKS = [Benchmark("SUMO", "batch", (16, 128, 1024), _rivals, same=_same)]
