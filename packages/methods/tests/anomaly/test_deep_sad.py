"""Deep SAD: the loss by hand, what collapses, and scikit-learn's own checks of the detector."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import estimator_checks_generator
from torch import nn

import iclr2020
from iclr2020.anomaly.deep_sad import (
    DeepSAD,
    centre_of,
    check_encoder,
    deep_sad_loss,
    dense_encoder,
    squared_distance,
)
from iclr2020.anomaly.deep_sad_sklearn import DeepSADDetector

LABELS = torch.tensor([0, 1, -1, 0, -1])


@given(st.lists(st.floats(0, 100), min_size=5, max_size=5), st.floats(0.1, 10))
def test_the_loss_is_its_sum(values: list[float], eta: float) -> None:
    wanted = 0.0
    for d, y in zip(values, LABELS.tolist(), strict=True):
        wanted += d if y == 0 else eta * (d + 1e-6) ** y
    found = deep_sad_loss(torch.tensor(values, dtype=torch.float64), LABELS, eta=eta)
    assert found.item() == pytest.approx(wanted / 5)


def test_without_labels_it_is_deep_svdd() -> None:
    d = torch.rand(6)
    assert deep_sad_loss(d, torch.zeros(6), eta=3.0) == d.mean()


def test_anomalies_are_pushed_away_and_the_rest_is_drawn_in() -> None:
    d = torch.tensor([1.0, 2.0, 3.0, 0.5, 0.5], requires_grad=True)
    deep_sad_loss(d, LABELS).backward()
    assert d.grad is not None
    assert d.grad.sign().tolist() == [1, 1, -1, 1, -1]


def test_at_the_centre_the_gradient_is_finite() -> None:
    z = torch.zeros(5, 2, requires_grad=True)
    deep_sad_loss(squared_distance(z, torch.zeros(2)), LABELS).backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_no_coordinate_of_the_centre_is_near_0() -> None:
    z = torch.tensor([[1.0, -1.0, 0.05, -0.05, 0.0]]).repeat(3, 1)
    assert centre_of(z).tolist() == pytest.approx([1, -1, 0.1, -0.1, 0.1])


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        (nn.Linear(2, 2), "no bias, got bias"),
        (nn.Sequential(nn.Linear(2, 2, bias=False), nn.Conv1d(1, 1, 1)), "no bias, got 1.bias"),
        (nn.Sequential(nn.BatchNorm1d(2)), "no bias, got 0.bias"),
        (nn.Sequential(nn.RMSNorm(2), nn.Tanh()), "unbounded activations, got 1: Tanh"),
        (nn.LSTM(2, 2), "no bias, got bias_ih_l0"),
    ],
)
def test_networks_that_could_be_constant_are_told(encoder: nn.Module, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_encoder(encoder)


def test_networks_that_could_not_pass() -> None:
    check_encoder(dense_encoder(3, (4, 4), 2))
    norm = nn.BatchNorm1d(2, affine=False)
    check_encoder(nn.Sequential(nn.Conv2d(1, 1, 3, bias=False), norm, nn.ReLU()))


def test_the_centre_is_that_of_the_untrained_network_in_eval_mode() -> None:
    encoder = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Dropout(0.9))
    model, x = DeepSAD(encoder, 2), torch.randn(50, 3)
    model.set_centre(x)
    torch.testing.assert_close(model.centre, centre_of(x @ encoder[0].weight.T))
    assert model.training
    assert "centre" in model.state_dict()


def rings(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Normal: around the middle; anomalies: one of two kinds, further out on one side."""
    rng = np.random.default_rng(seed)
    normal = rng.normal(size=(300, 5))
    strange = rng.normal(size=(60, 5)) * 0.7 + [1.5, -1.5, 0, 0, 0]
    return np.concatenate([normal, strange]), np.r_[np.ones(300), -np.ones(60)]


def test_labels_help() -> None:
    x, _ = rings(0)
    test_x, test_kind = rings(1)
    semi = np.zeros(len(x))
    semi[-20:] = -1
    scores = {}
    for name, labels in (("none", None), ("some", semi)):
        detector = DeepSADDetector(random_state=0, epochs=40).fit(x, semi=labels)
        scores[name] = roc_auc_score(test_kind > 0, detector.score_samples(test_x))
    assert scores["some"] > scores["none"] + 0.02
    assert scores["some"] > 0.9


def test_the_detector_takes_the_share_of_outliers_that_it_is_told() -> None:
    x, _ = rings(0)
    detector = DeepSADDetector(random_state=0, epochs=2, contamination=0.2).fit(x)
    assert (detector.predict(x) == -1).mean() == pytest.approx(0.2, abs=0.01)
    np.testing.assert_allclose(
        detector.decision_function(x), detector.score_samples(x) - detector.offset_
    )
    assert iclr2020.references(detector)[0].key == "ruff2020deepsad"


def test_the_same_seed_gives_the_same_and_leaves_torchs_alone() -> None:
    x, _ = rings(0)
    state = torch.get_rng_state()
    one, other = (DeepSADDetector(random_state=3, epochs=2).fit(x) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(one.score_samples(x), other.score_samples(x))


@pytest.mark.parametrize("share", [0.0, 0.7])
def test_a_share_that_cannot_be_is_told(share: float) -> None:
    with pytest.raises(ValueError, match=r"expected 0 to 0\.5"):
        DeepSADDetector(contamination=share).fit(np.zeros((4, 2)))


def test_labels_of_another_shape_are_told() -> None:
    with pytest.raises(ValueError, match=r"semi: expected shape \(4,\), got \(3,\)"):
        DeepSADDetector().fit(np.zeros((4, 2)), semi=np.zeros(3))


CHECKS = [
    (estimator, check)
    for estimator, check in estimator_checks_generator(DeepSADDetector(epochs=3, random_state=0))
    if "array_api" not in check.func.__name__
]


@pytest.mark.parametrize(
    ("estimator", "check"),
    CHECKS,
    ids=[check.func.__name__ + str(number) for number, (_, check) in enumerate(CHECKS)],
)
def test_scikit_learns_own_checks(estimator: DeepSADDetector, check: object) -> None:
    check(estimator)  # type: ignore[operator]
