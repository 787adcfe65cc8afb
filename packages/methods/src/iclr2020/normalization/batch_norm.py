r"""Four improvements of batch normalization: whose statistics are used, and where decay pulls to.

Each example and channel has a mean and a mean square. In training they are averaged over g
examples and c channels: all examples and one channel are batch normalization, g of them are
*ghost* batches, one example is group normalization, and the general case lies between. At
inference the example's own statistics get a weight of their own (*inference example weighing*),
which can be tuned after training, for any trained network.

.. math::
    e_1 &= \mathrm{mean}_{hw}\, x, \qquad e_2 = \mathrm{mean}_{hw}\, x^2 \\
    \mu &= \alpha e_1 + (1 - \alpha) m_1, \qquad
    \sigma^2 = \alpha e_2 + (1 - \alpha) m_2 - \mu^2 \qquad \text{(inference)} \\
    \text{decay} &= \lambda \left( \|\gamma - 1\|^2 + \|\beta\|^2 \right)

m1 and m2 are moving averages of e1 and e2. Shapes: x is (batch, channels, ...).

Second moments lose their digits where the mean is large, and overflow in half precision. So the
code never takes them: the same variance is that of a mixture,

.. math::
    \sigma^2 = \alpha (e_2 - e_1^2) + (1 - \alpha) (m_2 - m_1^2)
        + \alpha (1 - \alpha) (e_1 - m_1)^2,

a sum of variances and a square; likewise the moving average of e2, and the mean over a block.

Traps: m2 averages the second moment, not the mean (with the mean, the variance comes out
negative). Weight decay on gamma pulls it to 1, not to 0. PyTorch's batch normalization tracks the
mean of the (unbiased) batch variances, so that m2 = running_var + running_mean^2 leaves out
the variance of the batch means; that is small for large batches.

References:
    | Four Things Everyone Should Know to Improve Batch Normalization
      (Summers and Dinneen, 2020) | https://arxiv.org/abs/1906.03548
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from iclr2020.checks import between, positive, sizes
from iclr2020.citation import Reference

REFERENCES = (
    Reference(
        key="summers2020four",
        title="Four Things Everyone Should Know to Improve Batch Normalization",
        authors=("Summers, Cecilia", "Dinneen, Michael J."),
        year=2020,
        arxiv="1906.03548",
    ),
)


class Statistics(NamedTuple):
    """Means and (biased) variances, (batch, channels) each; or with 1 in place of the batch."""

    mean: Tensor
    var: Tensor


def centred(x: Tensor) -> tuple[Tensor, Statistics]:
    """Each example and channel less its mean, and its statistics.

    Args:
        x: (batch, channels, ...); of half precision becomes float32.

    Example:
        >>> centred(torch.tensor([[[1.0, 3.0]]]))
        (tensor([[[-1.,  1.]]]), Statistics(mean=tensor([[2.]]), var=tensor([[1.]])))
    """
    wide = _wide(x)
    inner = tuple(range(2, x.dim()))
    mean = wide.mean(inner, keepdim=True) if inner else wide
    rest = wide - mean
    square = rest.square()
    var = square.mean(inner) if inner else square
    return rest, Statistics(mean.flatten(1), var)


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def average_over(e: Tensor, examples: int, channels: int) -> Tensor:
    """The mean over blocks of so many examples and channels, at each place of the block.

    Args:
        e: (batch, all channels); the last block of examples is smaller if they don't divide.
        examples: g.
        channels: c; divides the number of channels.

    Returns:
        (batch, all channels).

    Example:
        >>> average_over(torch.tensor([[1.0, 3.0], [5.0, 7.0]]), examples=2, channels=1)
        tensor([[3., 5.],
                [3., 5.]])
    """
    _, width = sizes("e", e, "batch channels")
    if width % positive("channels", channels):
        raise ValueError(f"channels: expected a divisor of {width}, got {channels}")
    if channels > 1:
        e = e.unflatten(1, (-1, channels)).mean(-1).repeat_interleave(channels, 1)  # type: ignore[no-untyped-call]
    if examples == 1:
        return e
    if len(e) <= positive("examples", examples):
        return e.mean(0, keepdim=True).expand_as(e)
    whole = len(e) // examples * examples
    head = e[:whole].reshape(-1, examples, width).mean(1).repeat_interleave(examples, 0)
    tail = e[whole:]
    if not len(tail):
        return head
    return torch.cat([head, tail.mean(0, keepdim=True).expand_as(tail)])


def pool(own: Statistics, examples: int, channels: int) -> Statistics:
    """The statistics of blocks of so many examples and channels, at each place of the block.

    Args:
        own: of each example and channel, each of equally many values.
        examples: g.
        channels: c; divides the number of channels.

    Example:
        >>> own = Statistics(torch.tensor([[1.0], [3.0]]), torch.tensor([[0.5], [0.5]]))
        >>> pool(own, examples=2, channels=1).var
        tensor([[1.5000],
                [1.5000]])
    """
    if examples == channels == 1:
        return own
    mean = average_over(own.mean, examples, channels)
    return Statistics(mean, average_over(own.var + (own.mean - mean).square(), examples, channels))


def weigh(kept: Statistics, own: Statistics, alpha: float) -> Statistics:
    """Those of a mixture: the own ones weigh alpha, those that were kept the rest.

    Args:
        kept: of any dtype: they are taken as those of `own`.
        own: (batch, channels), or of a shape that goes together with `kept` by broadcasting.
        alpha: from 0 to 1.

    Example:
        >>> one = torch.ones(1, 1)
        >>> weigh(Statistics(0 * one, one), Statistics(4 * one, one), 0.5)
        Statistics(mean=tensor([[2.]]), var=tensor([[5.]]))
    """
    mean, var = kept.mean.to(own.mean), kept.var.to(own.var)
    apart = alpha * (1 - alpha) * (own.mean - mean).square()
    return Statistics(
        (1 - alpha) * mean + alpha * own.mean, (1 - alpha) * var + alpha * own.var + apart
    )


def normalize(
    x: Tensor, given: Statistics, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """(x - mean) / sqrt(var + eps), scaled and moved.

    Args:
        x: (batch, channels, ...).
        given: to normalize by; of what was `centred`, less the own mean.
        weight: (channels,), or None for 1.
        bias: (channels,), or None for 0.
        eps: what keeps the root from 0.

    Example:
        >>> one = torch.ones(1, 1)
        >>> normalize(torch.tensor([[3.0]]), Statistics(one, 4 * one), None, None, eps=0.0)
        tensor([[1.]])
    """
    scale = (given.var + eps).rsqrt()
    if weight is not None:
        scale = scale * weight
    shift = -given.mean * scale
    if bias is not None:
        shift = shift + bias
    shape = (*scale.shape, *[1] * (x.dim() - 2))
    return torch.addcmul(shift.view(shape), _wide(x), scale.view(shape))


class GeneralBatchNorm(nn.Module):
    """Batch, ghost batch and group normalization in one, with inference example weighing.

    Args:
        num_features: channels.
        examples: g, that share statistics in training; None: all of the batch.
        channels: c, that share them.
        alpha: the weight of the example's own statistics at inference.
        eps: as of `nn.BatchNorm2d`.
        momentum: of the moving averages.
        affine: with a weight and a bias for each channel.

    Shape:
        - x: (batch, num_features, ...).
        - Output: the same.

    With `examples=1` it is group normalization in training; so that it is at inference, too,
    `alpha` has to be 1. The buffers have the names of those of `nn.BatchNorm2d`, and its state can
    be loaded with `strict=False`.

    Raises:
        ValueError: `channels` doesn't divide `num_features`, or a number is out of range.

    Example:
        >>> norm = GeneralBatchNorm(4, examples=2)
        >>> norm(torch.randn(6, 4, 5, 5)).shape
        torch.Size([6, 4, 5, 5])
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        num_features: int,
        *,
        examples: int | None = None,
        channels: int = 1,
        alpha: float = 0.0,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
    ) -> None:
        super().__init__()
        if positive("num_features", num_features) % positive("channels", channels):
            raise ValueError(f"channels: expected a divisor of {num_features}, got {channels}")
        self.num_features, self.channels = num_features, channels
        self.examples = None if examples is None else positive("examples", examples)
        self.alpha = between("alpha", alpha, 0, 1)
        self.eps, self.momentum = eps, between("momentum", momentum, 0, 1)
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, moving averages of a standard normal input."""
        for tensor in (self.weight, self.running_var):
            if tensor is not None:
                nn.init.ones_(tensor)
        for tensor in (self.bias, self.running_mean):
            if tensor is not None:
                nn.init.zeros_(tensor)

    def forward(self, x: Tensor) -> Tensor:
        """The normalized examples."""
        if x.dim() < 2 or x.shape[1] != self.num_features:
            sizes("x", x, "batch channels ...", channels=self.num_features)
        if not x.numel():
            return x
        if self.training or self.alpha:
            return _normalize_by_own(x, self._given, self).to(x.dtype)
        return normalize(x, self._kept(), self.weight, self.bias, self.eps).to(x.dtype)

    def _given(self, own: Statistics) -> Statistics:
        """What examples with these statistics are normalized by."""
        if not self.training:
            return weigh(self._kept(), pool(own, 1, self.channels), self.alpha)
        self._track(own)
        return pool(own, self.examples or len(own.mean), self.channels)

    def _kept(self) -> Statistics:
        return Statistics(_wide(self.running_mean[None]), _wide(self.running_var[None]))

    @torch.no_grad()
    def _track(self, own: Statistics) -> None:
        """The moving averages of e1 and e2, the latter by its variance."""
        now = pool(own, len(own.mean), self.channels)
        moved = weigh(self._kept(), Statistics(now.mean[:1], now.var[:1]), self.momentum)
        self.running_mean.copy_(moved.mean[0])
        self.running_var.copy_(moved.var[0])

    def extra_repr(self) -> str:
        """What it averages over."""
        return f"{self.num_features}, examples={self.examples}, channels={self.channels}, " \
            f"alpha={self.alpha:g}"  # fmt: skip


@contextmanager
def example_weighing(model: nn.Module, alpha: float) -> Iterator[nn.Module]:
    """Within, the batch normalizations of a trained network weigh each example's own statistics.

    Any network with `nn.BatchNorm1d`, 2d or 3d that track statistics, in eval mode; after that it
    is as it was. Choose alpha on validation data: 0 is what the network does anyway. Where a layer
    gets (batch, channels), an example's own statistics are those of a single value.

    Args:
        model: in eval mode.
        alpha: from 0 to 1.

    Raises:
        ValueError: there is no such layer, or `alpha` is out of range.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).eval()
        >>> x = torch.randn(4, 1, 8, 8)
        >>> with example_weighing(net, 0.0):
        ...     torch.testing.assert_close(net(x), net(x))
    """
    between("alpha", alpha, 0, 1)
    layers = [
        one for one in model.modules() if isinstance(one, _BatchNorm) and one.track_running_stats
    ]
    if not layers:
        raise ValueError("expected a model with batch normalization that tracks statistics")
    hooks = [layer.register_forward_hook(_weigh(alpha)) for layer in layers]
    try:
        yield model
    finally:
        for hook in hooks:
            hook.remove()


def _weigh(alpha: float) -> Any:
    """In place of what a layer computed, unless it trains."""

    def weighed(layer: _BatchNorm, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        (x,) = inputs
        if layer.training or not alpha or not x.numel():
            return output
        assert layer.running_mean is not None
        assert layer.running_var is not None
        kept = Statistics(layer.running_mean, layer.running_var)
        return _normalize_by_own(x, lambda own: weigh(kept, own, alpha), layer).to(output.dtype)

    return weighed


def _normalize_by_own(
    x: Tensor, given: Callable[[Statistics], Statistics], layer: GeneralBatchNorm | _BatchNorm
) -> Tensor:
    """By what follows from the examples' own statistics; digits of large means aren't lost."""
    rest, own = centred(x)
    by = given(own)
    by = by._replace(mean=by.mean - own.mean)
    return normalize(rest, by, layer.weight, layer.bias, layer.eps)


def norm_decay(model: nn.Module) -> Tensor:
    """The sum of (gamma - 1)^2 and beta^2 over all normalization layers: times lambda, a penalty.

    Counts batch, group, layer and instance normalization of PyTorch and `GeneralBatchNorm`. Leave
    their parameters out of the optimizer's own weight decay, which pulls gamma to 0.

    Raises:
        ValueError: there is no such layer with parameters.

    Example:
        >>> norm_decay(nn.BatchNorm2d(3)).item()
        0.0
    """
    kinds = (_BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.modules.instancenorm._InstanceNorm,
             GeneralBatchNorm)  # fmt: skip
    terms = []
    for layer in model.modules():
        if isinstance(layer, kinds):
            if isinstance(layer.weight, Tensor):
                terms.append((layer.weight - 1).square().sum())
            if isinstance(layer.bias, Tensor):
                terms.append(layer.bias.square().sum())
    if not terms:
        raise ValueError("expected a model with normalization layers that have parameters")
    return torch.stack(terms).sum()
