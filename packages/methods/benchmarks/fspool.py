"""FSPool against sums and maxima, and against its definition with all pieces."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from common import Benchmark, Work
from torch import Tensor

from iclr2020.sets.fspool import FSPool, relative_ranks

BATCH, FEATURES, PIECES = 32, 64, 20


def _inputs(n: int) -> tuple[Tensor, FSPool]:
    torch.manual_seed(0)
    return torch.randn(BATCH, FEATURES, n, requires_grad=True), FSPool(FEATURES, PIECES)


def definition(pool: FSPool, x: Tensor) -> Tensor:
    """The weights as the sum over all pieces, as the paper has them."""
    ranks = relative_ranks(torch.full((1,), float(x.shape[-1])), x.shape[-1])
    hats = (1 - (ranks[..., None] * PIECES - torch.arange(PIECES + 1)).abs()).clamp(min=0)
    weights = torch.einsum("bnk,fk->bfn", hats, pool.weight)
    return (x.sort(dim=-1, descending=True).values * weights).sum(-1)


def _rivals(n: int) -> Mapping[str, Work]:
    x, pool = _inputs(n)
    return {
        "FSPool": lambda: pool(x)[0].sum().backward(),
        "definition": lambda: definition(pool, x).sum().backward(),
        "sort alone": lambda: x.sort(dim=-1, descending=True).values.sum().backward(),
        "sum": lambda: x.sum(-1).sum().backward(),
        "max": lambda: x.amax(-1).sum().backward(),
    }


def _same(n: int) -> None:
    x, pool = _inputs(n)
    torch.testing.assert_close(pool(x)[0], definition(pool, x), rtol=1e-3, atol=1e-3)


BENCHMARKS = [
    Benchmark(
        "FSPool, forward and backward",
        "elements",
        (16, 128, 1024),
        _rivals,
        same=_same,
        why="sum and max don't sort; beside the sort there is the weighting and its gradient",
    )
]
