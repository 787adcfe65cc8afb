"""Sparsity normalization: closed forms over weights, guards, and scikit-learn's own checks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator
from torch import nn

import iclr2020
from iclr2020.normalization.sparsity import (
    SparsityNorm,
    mean_count,
    normalize_sparsity,
    sparsity_effect,
)
from iclr2020.normalization.sparsity_sklearn import SparsityNormalizer

NAN = float("nan")


def test_what_is_all_there_stays_as_it_is() -> None:
    x = torch.randn(5, 4)
    mask = torch.ones(5, 4, dtype=torch.bool)
    torch.testing.assert_close(normalize_sparsity(x, mask, mean_count(mask)), x)


@given(st.integers(1, 8), st.floats(0.5, 20))
def test_the_mask_alone_sums_to_k_whatever_was_observed(observed: int, k: float) -> None:
    mask = (torch.arange(8) < observed)[None]
    x = torch.ones(1, 8, dtype=torch.float64)
    assert normalize_sparsity(x, mask, k).sum().item() == pytest.approx(k)


def test_the_mean_over_weights_is_its_closed_form() -> None:
    """With zeros it goes with the share that is there; normalized it doesn't."""
    torch.manual_seed(0)
    mean_weight, draws, d = 0.3, 40_000, 20
    x = torch.full((1, d), 2.0)
    weights = mean_weight + torch.randn(draws, d)
    for observed in (2, 10, 20):
        mask = (torch.arange(d) < observed)[None]
        zeros = (weights @ x.masked_fill(~mask, 0)[0]).mean().item()
        normalized = (weights @ normalize_sparsity(x, mask, 10.0)[0]).mean().item()
        assert zeros == pytest.approx(mean_weight * 2 * observed, abs=0.2)
        assert normalized == pytest.approx(mean_weight * 2 * 10, abs=0.4)


def test_a_deep_net_of_positive_mean_weights_counts_unless_it_is_normalized() -> None:
    torch.manual_seed(0)
    mask = torch.rand(400, 30) < torch.rand(400, 1)
    x = torch.rand(400, 30)
    net = nn.Sequential(
        nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)
    )
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1)
        zeros = sparsity_effect(net(x.masked_fill(~mask, 0)), mask)
        normalized = sparsity_effect(net(normalize_sparsity(x, mask, mean_count(mask))), mask)
    assert zeros.item() > 0.9
    assert normalized.abs().item() < 0.3


@pytest.mark.parametrize("filling", [NAN, float("inf"), 1e30])
def test_what_is_missing_may_hold_anything(filling: float) -> None:
    x = torch.tensor([[1.0, filling]])
    mask = torch.tensor([[True, False]])
    assert normalize_sparsity(x, mask, 2.0).tolist() == [[2, 0]]


def test_a_row_of_nothing_is_0() -> None:
    assert normalize_sparsity(torch.ones(1, 3), torch.zeros(1, 3).bool(), 2.0).eq(0).all()


def test_nothing_at_all_is_told() -> None:
    with pytest.raises(ValueError, match="got nothing"):
        mean_count(torch.zeros(2, 3).bool())
    with pytest.raises(ValueError, match="got nothing"):
        SparsityNormalizer().fit(sparse.csr_matrix((2, 3)))


def test_k_comes_from_the_training_set_alone() -> None:
    norm = SparsityNorm(2).fit(torch.tensor([[True, True]]))
    assert norm(torch.tensor([[1.0, NAN], [NAN, NAN]])).tolist() == [[2, 0], [0, 0]]
    assert norm.k == 2


def test_it_has_to_be_fitted() -> None:
    with pytest.raises(RuntimeError, match="fit"):
        SparsityNorm(2)(torch.ones(1, 2))


def test_a_mask_of_another_shape_is_told() -> None:
    with pytest.raises(ValueError, match=r"mask: expected shape \(2, 3\), got \(2, 1\)"):
        normalize_sparsity(torch.ones(2, 3), torch.ones(2, 1).bool(), 1.0)


def test_a_constant_output_has_no_correlation() -> None:
    mask = torch.tensor([[True, True], [True, True]])
    assert sparsity_effect(torch.tensor([[1.0], [2.0]]), mask).tolist() == [0]


def test_sparse_is_dense_with_nothing_for_what_is_not_stored() -> None:
    dense = np.array([[1.0, np.nan, 0.0], [np.nan, np.nan, np.nan], [2.0, 3.0, np.nan]])
    stored = ~np.isnan(dense)
    rows, columns = np.nonzero(stored)
    matrix = sparse.csr_matrix((dense[stored], (rows, columns)), shape=dense.shape)
    before = matrix.copy()
    normalizer = SparsityNormalizer().fit(dense)
    assert SparsityNormalizer().fit(matrix).k_ == normalizer.k_ == 4 / 3
    found = normalizer.transform(matrix)
    assert sparse.issparse(found)
    assert found.nnz == 4  # the stored zero is one that was observed
    np.testing.assert_allclose(found.toarray(), normalizer.transform(dense))
    assert (matrix != before).nnz == 0


def test_it_is_the_layer() -> None:
    x = torch.tensor([[1.0, NAN, 3.0], [4.0, 5.0, 6.0]])
    layer = SparsityNorm(3).fit(~x.isnan())
    found = SparsityNormalizer().fit(x.numpy()).transform(x.numpy())
    np.testing.assert_allclose(found, layer(x).numpy())


def test_it_works_in_a_pipeline() -> None:
    x = np.random.default_rng(0).normal(size=(60, 4))
    y = x[:, 0] > 0
    x[::7, 1] = np.nan
    pipeline = make_pipeline(SparsityNormalizer(), LogisticRegression())
    assert pipeline.fit(x, y).score(x, y) > 0.9
    assert iclr2020.references(pipeline[0])[0].key == "yi2020sparsity"


#: All but the one about other array libraries, which has to be switched on for a whole process.
CHECKS = [
    (estimator, check)
    for estimator, check in estimator_checks_generator(SparsityNormalizer())
    if "array_api" not in check.func.__name__
]


@pytest.mark.parametrize(
    ("estimator", "check"),
    CHECKS,
    ids=[check.func.__name__ + str(n) for n, (_, check) in enumerate(CHECKS)],
)
def test_scikit_learns_own_checks(estimator: SparsityNormalizer, check: object) -> None:
    check(estimator)  # type: ignore[operator]
