"""Set probabilities: counting all orders against the integral, as the set grows."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from common import Benchmark, Work
from torch import Tensor

from iclr2020.gradients.unordered_set import log_p_set, unordered_set_surrogate

BATCH = 64


def _log_p(k: int) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(BATCH, 64, dtype=torch.float64).log_softmax(-1)[:, :k]


def looped(log_p: Tensor) -> Tensor:
    """One set and one order after the other."""
    found = []
    for row in log_p.exp().tolist():
        total = 0.0
        for order in itertools.permutations(row):
            product, left = 1.0, 1.0
            for p in order:
                product, left = product * p / left, left - p
            total += product
        found.append(total)
    return torch.tensor(found, dtype=torch.float64).log()


def _counted(k: int) -> Mapping[str, Work]:
    log_p = _log_p(k)
    return {"log_p_set": lambda: log_p_set(log_p), "loop": lambda: looped(log_p)}


def _ways(k: int) -> Mapping[str, Work]:
    log_p = _log_p(k)
    return {
        "integral": lambda: log_p_set(log_p, by="integral"),
        "orders": lambda: log_p_set(log_p, by="orders"),
    }


def _gradients(k: int) -> Mapping[str, Work]:
    f = torch.ones(BATCH, k, dtype=torch.float64)
    logits = torch.randn(BATCH, 64, dtype=torch.float64, requires_grad=True)
    return {
        "unordered set": lambda: (
            unordered_set_surrogate(logits.log_softmax(-1)[:, :k], f).sum().backward()
        ),
        "REINFORCE": lambda: (logits.log_softmax(-1)[:, :k] * f).sum().backward(),
    }


def _same(k: int) -> None:
    log_p = _log_p(k)
    torch.testing.assert_close(log_p_set(log_p), looped(log_p))


def _ways_same(k: int) -> None:
    log_p = _log_p(k)
    torch.testing.assert_close(log_p_set(log_p, by="integral"), log_p_set(log_p, by="orders"))


BENCHMARKS = [
    Benchmark("Probability of a set", "k", (2, 4, 6), _counted, same=_same),
    Benchmark(
        "Probability of a set, by the integral or by counting",
        "k",
        (2, 4, 6, 7, 8),
        _ways,
        same=_ways_same,
        why="small sets are counted for that reason: the integral costs the same for all",
    ),
    Benchmark(
        "A gradient from k samples",
        "k",
        (2, 4, 8),
        _gradients,
        why="REINFORCE computes no weights; what it lacks is the smaller variance, and a cost "
        "that is worth an estimator takes longer than this",
    ),
]
