"""Sparsity normalization against a loop over rows, and scikit-learn's imputer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from common import Benchmark, Work
from sklearn.impute import SimpleImputer
from torch import Tensor

from iclr2020.normalization.sparsity import normalize_sparsity
from iclr2020.normalization.sparsity_sklearn import SparsityNormalizer


def _x(rows: int) -> Tensor:
    torch.manual_seed(0)
    x = torch.randn(rows, 200)
    return x.masked_fill(torch.rand(rows, 200) < 0.5, torch.nan)


def looped(x: Tensor, k: float) -> Tensor:
    """The definition, one row after the other."""
    rows = []
    for row in x:
        there = ~row.isnan()
        rows.append(row.nan_to_num() * there * k / max(int(there.sum()), 1))
    return torch.stack(rows)


def _rivals(rows: int) -> Mapping[str, Work]:
    x = _x(rows)
    return {
        "normalize_sparsity": lambda: normalize_sparsity(x, ~x.isnan(), 100.0),
        "loop": lambda: looped(x, 100.0),
    }


def _of_sklearn(rows: int) -> Mapping[str, Work]:
    x = _x(rows).numpy()
    ours, theirs = SparsityNormalizer().fit(x), SimpleImputer().fit(x)
    return {
        "SparsityNormalizer": lambda: ours.transform(x),
        "SimpleImputer": lambda: theirs.transform(x),
    }


def _same(rows: int) -> None:
    x = _x(rows)
    torch.testing.assert_close(normalize_sparsity(x, ~x.isnan(), 100.0), looped(x, 100.0))


BENCHMARKS = [
    Benchmark("Sparsity normalization", "rows", (64, 1024, 4096), _rivals, same=_same),
    Benchmark("Sparsity normalization in scikit-learn", "rows", (64, 1024, 16384), _of_sklearn),
]
