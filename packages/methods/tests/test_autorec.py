"""Ratings that are held out, and a network that predicts them."""

from __future__ import annotations

from argparse import Namespace

import autorec
import pytest
import sparsity
import torch

from iclr2020 import data

ARGUMENTS = Namespace(
    data="inst_eval", device="cpu", seed=0, width=32, decay=0.01, ratings_epochs=60
)


@pytest.fixture
def ratings(monkeypatch: pytest.MonkeyPatch) -> data.Ratings:
    """300 students, half of whom like what the others don't, of 40 lecturers."""
    torch.manual_seed(0)
    users, items = (torch.rand(300, 40) < 0.5).nonzero().T
    values = torch.where(users % 2 == items % 2, 5.0, 1.0)
    made = data.Ratings(users, items, values, 300, 40)
    monkeypatch.setattr(data, "inst_eval", lambda: made)
    return made


def test_each_rating_is_in_one_part(ratings: data.Ratings) -> None:
    parts = autorec.split(ratings)
    there = torch.stack([~x.isnan() for x in parts])
    assert torch.equal(there.sum(0).nonzero().T, torch.stack([ratings.users, ratings.items]))
    assert there.sum(0).max() == 1
    shares = there.sum((1, 2)) / len(ratings.values)
    torch.testing.assert_close(shares, torch.tensor([0.8, 0.1, 0.1]), atol=0.02, rtol=0)
    together = parts.train.nan_to_num() + parts.validation.nan_to_num() + parts.test.nan_to_num()
    assert torch.equal(together[ratings.users, ratings.items], ratings.values / 5)


def test_the_error_is_in_steps_of_the_scale() -> None:
    x = torch.tensor([[0.2, torch.nan], [1.0, 0.6]])
    predicted = torch.tensor([[0.4, 9.0], [1.0, 0.6]])
    assert autorec.error(predicted, x) == pytest.approx((1 / 3) ** 0.5)


def test_lecturers_means_know_training_alone() -> None:
    nan = torch.nan
    train = torch.tensor([[0.2, nan, nan], [0.6, 1.0, nan]])
    other = torch.full_like(train, 0.8)
    means = autorec.lecturers_means(autorec.Split(train, other, other))
    torch.testing.assert_close(means, torch.tensor([[0.4, 1.0, 0.6]] * 2))


def test_a_network_learns_who_likes_what(ratings: data.Ratings) -> None:
    rows = list(sparsity.rate(ARGUMENTS))
    errors = {row["filled with"]: row["score"] for row in rows}
    assert set(errors) == {*sparsity.WAYS, sparsity.BASELINE}
    assert errors.pop(sparsity.BASELINE) > 1.9  # half say 1 and half say 5
    assert max(errors.values()) < 1.0
    assert {row["metric"] for row in rows} == {"RMSE"}


def test_the_smaller_error_wins(ratings: data.Ratings) -> None:
    rows = [
        {"seed": 0, "data": "inst_eval", "filled with": way, "metric": "RMSE", "score": score}
        for way, score in zip(sparsity.WAYS, (1.3, 1.5, 1.2, 1.4), strict=True)
    ]
    verdict = sparsity.judge(rows)
    assert verdict.what == "reproduced"
    assert "1.200 against 1.300 with zeros (1 of 1 seeds), the best is sparsity" in verdict.why
