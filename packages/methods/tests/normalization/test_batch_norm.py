"""General batch normalization: PyTorch's layers as special cases, and weighing at inference."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from iclr2020.normalization.batch_norm import (
    GeneralBatchNorm,
    Statistics,
    average_over,
    centred,
    example_weighing,
    norm_decay,
    pool,
    weigh,
)


def scrambled(layer: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return layer


def like(ours: GeneralBatchNorm, theirs: nn.Module) -> None:
    scrambled(theirs)
    with torch.no_grad():
        ours.weight.copy_(theirs.weight)  # type: ignore[union-attr]
        ours.bias.copy_(theirs.bias)  # type: ignore[union-attr]


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 5), (6, 4, 5, 3), (6, 4, 2, 3, 2)])
def test_all_examples_are_batch_normalization(shape: tuple[int, ...]) -> None:
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[len(shape)]
    ours, theirs, x = GeneralBatchNorm(4), kind(4), torch.randn(shape)
    like(ours, theirs)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_one_example_is_group_normalization(channels: int) -> None:
    ours = GeneralBatchNorm(4, examples=1, channels=channels)
    theirs, x = nn.GroupNorm(4 // channels, 4), torch.randn(6, 4, 5, 3)
    like(ours, theirs)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("examples", [1, 2, 3, 4, 5, 7])
def test_ghost_batches_are_a_loop_over_parts(examples: int) -> None:
    ours, theirs, x = (
        GeneralBatchNorm(4, examples=examples),
        nn.BatchNorm2d(4),
        torch.randn(6, 4, 5, 3),
    )
    like(ours, theirs)
    wanted = torch.cat([theirs(part) for part in x.split(examples)])
    torch.testing.assert_close(ours(x), wanted)


def test_blocks_of_examples_and_channels() -> None:
    x = torch.randn(4, 6, 5)
    ours = GeneralBatchNorm(6, examples=2, channels=3, affine=False)
    found = ours(x)
    for b in (0, 2):
        for c in (0, 3):
            block = x[b : b + 2, c : c + 3]
            wanted = (block - block.mean()) / (block.var(correction=0) + 1e-5).sqrt()
            torch.testing.assert_close(found[b : b + 2, c : c + 3], wanted)


def test_what_it_tracks_is_the_mean_and_the_mean_square() -> None:
    norm, x = GeneralBatchNorm(3, examples=2, momentum=1.0), 2 + torch.randn(8, 3, 5)
    norm(x)
    torch.testing.assert_close(norm.running_mean, x.mean((0, 2)))
    torch.testing.assert_close(norm.running_var, x.var((0, 2), correction=0))
    whole = norm.eval()(x)
    torch.testing.assert_close(whole.mean((0, 2)), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(whole.std((0, 2), correction=0), torch.ones(3), atol=1e-4, rtol=0)


def trained() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 8),
        nn.BatchNorm1d(8),
    )  # fmt: skip
    scrambled(net)
    for _ in range(20):
        net(1 + torch.randn(16, 2, 8, 8))
    return net.eval()


def test_a_weight_of_0_is_the_network_as_it_is() -> None:
    net, x = trained(), torch.randn(5, 2, 8, 8)
    before = net(x)
    with example_weighing(net, 0.0):
        assert torch.equal(net(x), before)


def test_afterwards_the_network_is_as_it_was() -> None:
    net, x = trained(), torch.randn(5, 2, 8, 8)
    before = net(x)
    with example_weighing(net, 0.5):
        assert not torch.allclose(net(x), before)
    assert torch.equal(net(x), before)
    with pytest.raises(ZeroDivisionError), example_weighing(net, 0.5):
        raise ZeroDivisionError
    assert torch.equal(net(x), before)


def test_a_weight_of_1_is_instance_normalization() -> None:
    norm, x = nn.BatchNorm2d(4), torch.randn(3, 4, 5, 5)
    scrambled(norm)
    norm.eval()
    with example_weighing(norm, 1.0):
        found = norm(x)
    wanted = nn.functional.instance_norm(x, weight=norm.weight, bias=norm.bias)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_weighing_is_its_formula(alpha: float) -> None:
    norm, x = nn.BatchNorm2d(4, affine=False).eval(), torch.randn(3, 4, 5, 5)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    m1, m2 = norm.running_mean, norm.running_var + norm.running_mean**2
    e1, e2 = x.mean((2, 3)), x.square().mean((2, 3))
    mu = alpha * e1 + (1 - alpha) * m1
    var = alpha * e2 + (1 - alpha) * m2 - mu**2
    wanted = (x - mu[..., None, None]) / (var[..., None, None] + norm.eps).sqrt()
    with example_weighing(norm, alpha):
        torch.testing.assert_close(norm(x), wanted)
    ours = GeneralBatchNorm(4, alpha=alpha, affine=False).eval()
    ours.load_state_dict(norm.state_dict(), strict=False)
    torch.testing.assert_close(ours(x), wanted)


def test_in_training_nothing_is_weighed() -> None:
    net, x = trained().train(), torch.randn(5, 2, 8, 8)
    before = net(x)
    with example_weighing(net, 0.5):
        torch.testing.assert_close(net(x), before)


def test_a_network_without_such_layers_is_told() -> None:
    with (
        pytest.raises(ValueError, match="with batch normalization"),
        example_weighing(nn.Linear(1, 1), 0.5),
    ):
        pass
    with pytest.raises(ValueError, match="from 0 to 1"), example_weighing(nn.BatchNorm1d(1), 2.0):
        pass


@given(st.integers(1, 7), st.integers(1, 9))
def test_averages_keep_the_whole_mean_where_blocks_divide(examples: int, batch: int) -> None:
    e = torch.arange(batch * 4.0).view(batch, 4)
    found = average_over(e, examples, 2)
    assert found.shape == e.shape
    blocks = [part.mean(0) for part in e.split(examples)]
    assert len(found.unique(dim=0)) == len(blocks)
    torch.testing.assert_close(found.mean(), e.mean())


@given(
    st.floats(-100, 100), st.floats(0, 100), st.floats(-100, 100), st.floats(0, 100),
    st.floats(0, 1),
)  # fmt: skip
def test_weighing_is_that_of_second_moments(
    m1: float, v1: float, e1: float, v2: float, alpha: float
) -> None:
    kept, own = (
        Statistics(torch.tensor(m, dtype=torch.float64), torch.tensor(v, dtype=torch.float64))
        for m, v in ((m1, v1), (e1, v2))
    )
    found = weigh(kept, own, alpha)
    mean = alpha * e1 + (1 - alpha) * m1
    square = alpha * (v2 + e1**2) + (1 - alpha) * (v1 + m1**2)
    assert found.mean.item() == pytest.approx(mean, abs=1e-9)
    assert found.var.item() == pytest.approx(square - mean**2, abs=1e-9)
    assert found.var.item() >= 0


def test_what_is_tracked_is_the_moving_average_of_the_mean_square() -> None:
    norm, m1, m2 = GeneralBatchNorm(3, momentum=0.3), torch.zeros(3), torch.ones(3)
    for shift in (0.0, 2.0, -1.0):
        x = shift + torch.randn(8, 3, 5)
        norm(x)
        m1, m2 = m1 + 0.3 * (x.mean((0, 2)) - m1), m2 + 0.3 * (x.square().mean((0, 2)) - m2)
    torch.testing.assert_close(norm.running_mean, m1)
    torch.testing.assert_close(norm.running_var, m2 - m1**2, rtol=1e-4, atol=1e-4)


def test_an_example_that_weighs_its_share_gets_what_training_gave_it() -> None:
    """With the statistics of all others kept, and a weight of one over the batch."""
    x = torch.randn(6, 4, 5, 5)
    wanted = GeneralBatchNorm(4, affine=False)(x)
    for number in range(6):
        norm = GeneralBatchNorm(4, affine=False, momentum=1.0, alpha=1 / 6)
        norm(torch.cat([x[:number], x[number + 1 :]]))
        found = norm.eval()(x[number : number + 1])
        torch.testing.assert_close(found[0], wanted[number], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("examples", [None, 4, 1])
def test_digits_survive_a_large_mean(examples: int | None) -> None:
    x = 1e4 + torch.randn(16, 2, 8, 8, dtype=torch.float32)
    norm = GeneralBatchNorm(2, examples=examples).float()
    assert norm(x).std((0, 2, 3)).tolist() == pytest.approx([1, 1], abs=0.02)
    for _ in range(400):
        norm(x)
    assert norm.eval()(x).std((0, 2, 3)).tolist() == pytest.approx([1, 1], abs=0.02)
    norm.alpha = 0.5
    assert norm(x).std((0, 2, 3)).tolist() == pytest.approx([1, 1], abs=0.05)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_squares_do_not_overflow_in_half_precision(dtype: torch.dtype) -> None:
    x = (300 + 300 * torch.randn(4, 4, 8, 8)).to(dtype)
    plain = nn.BatchNorm2d(4).to(dtype).eval()
    norm = GeneralBatchNorm(4).to(dtype)
    assert norm(x).dtype == dtype
    assert norm(x).float().std().item() == pytest.approx(1, abs=0.05)
    assert norm.eval()(x).dtype == dtype
    with example_weighing(plain, 1.0):
        assert plain(x).dtype == dtype
        assert plain(x).float().std().item() == pytest.approx(1, abs=0.05)


@pytest.mark.float64  # autocast leaves float64 alone: the network is float32 here
def test_it_weighs_under_autocast() -> None:
    net, x = trained().float(), torch.randn(5, 2, 8, 8, dtype=torch.float32)
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        before = net(x)
        with example_weighing(net, 1e-6):
            found = net(x)
    assert found.dtype == before.dtype
    torch.testing.assert_close(found, before, rtol=0.05, atol=0.05)


def test_an_empty_batch_is_empty_and_leaves_no_trace() -> None:
    norm = GeneralBatchNorm(4)
    for training in (True, False):
        assert norm.train(training)(torch.zeros(0, 4, 3)).shape == (0, 4, 3)
    assert norm.running_mean.eq(0).all()
    assert norm.running_var.eq(1).all()


def test_pooling_is_that_of_all_values() -> None:
    x = torch.randn(4, 6, 5) * torch.rand(4, 6, 1) + torch.randn(4, 6, 1)
    found = pool(centred(x)[1], 2, 3)
    block = x[2:4, 3:6]
    torch.testing.assert_close(found.mean[2, 3], block.mean())
    torch.testing.assert_close(found.var[2, 3], block.var(correction=0))


def test_a_state_of_batch_normalization_can_be_loaded() -> None:
    theirs, x = trained()[1], torch.randn(3, 4, 5, 5)
    ours = GeneralBatchNorm(4).eval()
    ours.load_state_dict(theirs.state_dict(), strict=False)
    torch.testing.assert_close(ours(x), theirs(x))


def test_decay_pulls_gamma_to_1_and_beta_to_0() -> None:
    net = nn.Sequential(
        nn.Linear(2, 2), nn.BatchNorm1d(2), nn.GroupNorm(1, 2), GeneralBatchNorm(2),
        nn.BatchNorm1d(2, affine=False),
    )  # fmt: skip
    for parameter in net[1:].parameters():
        nn.init.constant_(parameter, 3.0)
    decay = norm_decay(net)
    assert decay.item() == 3 * (2 * 4 + 2 * 9)
    decay.backward()
    assert net[0].weight.grad is None
    assert net[1].weight.grad.tolist() == [4, 4]
    assert net[1].bias.grad.tolist() == [6, 6]


def test_nothing_to_decay_is_told() -> None:
    with pytest.raises(ValueError, match="with normalization layers"):
        norm_decay(nn.Linear(1, 1))


def test_channels_that_do_not_divide_are_told() -> None:
    with pytest.raises(ValueError, match="a divisor of 4, got 3"):
        GeneralBatchNorm(4, channels=3)


@pytest.mark.float64
def test_it_is_differentiated_twice() -> None:
    norm = GeneralBatchNorm(2, examples=2)

    def loss(x: Tensor) -> Tensor:
        return norm(x).pow(3).sum()

    x = torch.randn(4, 2, 3, requires_grad=True)
    assert torch.autograd.gradgradcheck(loss, x)
