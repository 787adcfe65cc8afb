"""Formulas that circulate with an error: each is shown to be wrong, and ours right, by number.

The numbers are those of a list of errors that was drawn up when the library was begun; rows about
methods that aren't here yet, and those about prose, are left out.
"""

from __future__ import annotations

import itertools

import pytest
import torch

from iclr2020.anomaly.deep_sad import deep_sad_loss
from iclr2020.anomaly.input_complexity import ood_score
from iclr2020.flows.gin import volume_preserving
from iclr2020.generative.sumo import iwae_bounds, sumo, survival
from iclr2020.gradients.unordered_set import log_p_set, unordered_set_surrogate
from iclr2020.normalization.batch_norm import example_weighing
from iclr2020.normalization.sparsity import mean_count, normalize_sparsity
from iclr2020.optimization.radam import PAPER_THRESHOLD, first_rectified_step, rho
from iclr2020.sets.equivariant import EquivariantLinear


def test_row_01_the_second_sum_is_over_the_labelled_with_their_labels() -> None:
    """An anomaly adds the inverse of its own distance; that of an unlabelled one has no place."""
    d = torch.tensor([1.0, 4.0, 0.5])
    labels = torch.tensor([0, -1, 1])
    found = deep_sad_loss(d, labels)
    assert found.item() == pytest.approx((1 + 1 / (4 + 1e-6) + 0.5 + 1e-6) / 3)
    with_unlabelled = (1 + 1 / 1 + 1) / 3  # X_i in place of X~_j
    assert abs(found.item() - with_unlabelled) > 0.1


def test_row_02_complexity_is_taken_off_the_negative_log_likelihood() -> None:
    """Inside: complicated, of the length that the model says; outside: simple, and liked."""
    nll, bits = torch.tensor([1000.0, 400.0]), torch.tensor([990.0, 100.0])
    inside, outside = ood_score(nll, bits)
    assert outside > inside
    wrong = -nll - bits  # "subtract the complexity from the likelihood": higher is more inside
    assert wrong[1] > wrong[0]


def test_row_05_the_score_function_has_a_log() -> None:
    """grad E[f] is E[grad log p f]; without the log it is another number."""
    logits = torch.tensor([0.5, -1.0, 0.2], requires_grad=True)
    f, p = torch.tensor([1.0, 2.0, 4.0]), logits.softmax(-1)
    (exact,) = torch.autograd.grad((p * f).sum(), logits, retain_graph=True)
    scores = torch.stack([torch.autograd.grad(p[i].log(), logits, retain_graph=True)[0]
                          for i in range(3)])  # fmt: skip
    plain = torch.stack([torch.autograd.grad(p[i], logits, retain_graph=True)[0]
                         for i in range(3)])  # fmt: skip
    chance = p.detach()[:, None]
    torch.testing.assert_close((chance * scores * f[:, None]).sum(0), exact)
    assert not torch.allclose((chance * plain * f[:, None]).sum(0), exact, rtol=0.1)


def test_row_06_the_third_draw_is_renormalized_by_the_first_two() -> None:
    """Over all ordered triples the probabilities sum to 1 only with 1 - p(b1) - p(b2)."""
    p = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05])
    right = wrong = 0.0
    for a, b, c in itertools.permutations(p.tolist(), 3):
        first_two = a * b / (1 - a)
        right += first_two * c / (1 - a - b)
        wrong += first_two * c / (1 - b - c)
    assert right == pytest.approx(1)
    assert abs(wrong - 1) > 0.005
    triples = torch.tensor(list(itertools.combinations(range(5), 3)))
    assert log_p_set(p.log()[triples]).exp().sum().item() == pytest.approx(1)


@pytest.mark.float64
def test_row_07_the_estimator_is_of_the_gradient_of_the_mean() -> None:
    """Its mean over sets is grad E[f], not E[grad log p(s) f(x)] for another sample x."""
    logits = torch.tensor([0.5, -1.0, 0.2, 0.0], requires_grad=True)
    f = torch.tensor([1.0, 2.0, 4.0, -3.0])
    sets = torch.tensor(list(itertools.combinations(range(4), 2)))
    log_p = logits.log_softmax(-1)
    losses = unordered_set_surrogate(log_p[sets], f[sets])
    mean = (log_p_set(log_p[sets].detach()).exp() * losses).sum()
    (found,) = torch.autograd.grad(mean, logits, retain_graph=True)
    (exact,) = torch.autograd.grad((log_p.exp() * f).sum(), logits, retain_graph=True)
    torch.testing.assert_close(found, exact)
    independent = (log_p.detach().exp() * log_p).sum() * (log_p.exp() * f).sum().detach()
    (other,) = torch.autograd.grad(independent, logits)
    assert other.abs().max() < 1e-10  # the mean of a score alone is 0


def test_row_08_sumo_divides_by_the_survival() -> None:
    torch.manual_seed(0)
    most = 40
    log_w = torch.randn(1 + most, 1) * 2
    tail = survival(torch.arange(1, most + 2))
    chance = torch.cat([tail[: most - 1] - tail[1:most], tail[most - 1 : most]])
    target = iwae_bounds(log_w)[-1, 0]
    ours = torch.stack([sumo(log_w, torch.tensor([k]))[0] for k in range(1, most + 1)])
    torch.testing.assert_close((chance * ours).sum(), target)
    gains = iwae_bounds(log_w)[:, 0].diff()
    at_most = 1 - tail[1 : most + 1]  # P(K <= k)
    wrong = iwae_bounds(log_w)[0, 0] + ((gains / at_most).cumsum(0) * chance).sum()
    assert abs(wrong - target) > 0.05


def test_row_09_the_elbo_is_the_bound_of_one_sample() -> None:
    log_w = torch.randn(5, 7)
    assert torch.equal(iwae_bounds(log_w)[0], log_w[0])


def test_row_10_the_mean_makes_the_layer_the_same_for_all_sizes() -> None:
    layer, x = EquivariantLinear(2, 2), torch.randn(1, 3, 2)
    assert layer.mean is not None
    twice = torch.cat([x, x], 1)
    torch.testing.assert_close(layer(twice)[:, :3], layer(x))
    with_sum = [one @ layer.own.T + one.sum(1, keepdim=True) @ layer.mean.T for one in (x, twice)]
    assert not torch.allclose(with_sum[1][:, :3], with_sum[0])


@pytest.mark.float64
def test_row_11_the_mean_of_the_log_scales_keeps_volumes_as_the_last_one_does() -> None:
    raw = torch.randn(5, 4)
    ours = volume_preserving(raw)
    assert ours.sum(1).abs().max() < 1e-12
    last = torch.cat([raw[:, :3], -raw[:, :3].sum(1, keepdim=True)], 1)
    assert last.sum(1).abs().max() < 1e-12
    assert raw.sum(1).abs().max() > 0.1  # plain affine coupling doesn't


def test_row_12_inference_weighs_second_moments() -> None:
    """With the moving mean in place of the moving mean square the variance is negative."""
    torch.manual_seed(0)
    x, alpha = 5 + torch.randn(1, 1, 64, 64), 0.1
    m1, m2 = torch.tensor(5.0), torch.tensor(26.0)
    e1, e2 = x.mean(), x.square().mean()
    mu = alpha * e1 + (1 - alpha) * m1
    assert alpha * e2 + (1 - alpha) * m2 - mu**2 == pytest.approx(1, abs=0.05)
    assert alpha * e2 + (1 - alpha) * m1 - mu**2 < -10
    norm = torch.nn.BatchNorm2d(1, affine=False).eval()
    assert norm.running_mean is not None
    norm.running_mean.fill_(5)
    with example_weighing(norm, alpha):
        assert norm(x).std() == pytest.approx(1, abs=0.05)


def test_row_13_the_first_adaptive_step_depends_on_the_threshold() -> None:
    assert first_rectified_step(0.999, PAPER_THRESHOLD) == 5
    assert rho(5, 0.999) == pytest.approx(4.996, abs=1e-3)
    x = torch.zeros(1, requires_grad=True)
    optimizer, sizes = torch.optim.RAdam([x], lr=1.0, betas=(0.0, 0.999), eps=0.0), []
    for _ in range(6):
        before = x.item()
        x.grad = torch.full((1,), 100.0)
        optimizer.step()
        sizes.append(abs(x.item() - before))
    assert sizes[:5] == pytest.approx([100.0] * 5)  # torch: not adaptive up to the fifth
    assert sizes[5] < 1


def test_row_18_sparsity_is_divided_out_by_the_norm_of_the_mask() -> None:
    """By the norm of the data, the values themselves are lost: every row sums to the same."""
    x = torch.tensor([[2.0, 4.0, 0.0], [20.0, 40.0, 0.0]])
    mask = torch.tensor([[True, True, False], [True, True, False]])
    ours = normalize_sparsity(x, mask, mean_count(mask))
    torch.testing.assert_close(ours[1], 10 * ours[0])
    by_data = x / x.abs().sum(1, keepdim=True)
    torch.testing.assert_close(by_data[1], by_data[0])
