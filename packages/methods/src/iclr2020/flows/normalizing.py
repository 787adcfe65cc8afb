r"""Normalizing flows on zuko: NICE, RealNVP, autoregressive, LU; and a check of any flow.

A density is that of a simple one pulled back through an invertible map f.

.. math::
    \log p(x) &= \log p_Z(f(x)) + \log |\det J_f(x)| \\
    \text{NICE:}\ & y_2 = x_2 + t(x_1), \qquad \log|\det J| = 0
        \quad \text{(then a scale for each dimension)} \\
    \text{RealNVP:}\ & y_2 = x_2 \odot e^{s(x_1)} + t(x_1), \qquad
        \log|\det J| = \textstyle\sum s(x_1) \\
    \text{autoregressive:}\ & y_i = x_i\, e^{s(x_{<i})} + t(x_{<i}), \qquad
        \log|\det J| = \textstyle\sum_i s(x_{<i}) \\
    \text{LU:}\ & y = L U x, \quad U_{ii} = 1, \qquad
        \log|\det J| = \textstyle\sum_i \log |L_{ii}|

The flows are zuko's: `flow()` is a distribution with `log_prob` and `rsample`, `flow(context)` one
that depends on a context. For pixels of 8 bits, add uniform noise before (`dequantize`): the mean
of log p over it is a lower bound of the log probability of the pixels, in `bits_per_dimension`.

zuko bounds s smoothly: a layer scales by :math:`10^{-3}` to :math:`10^3`.

Trap: a high likelihood says little about being typical; see `iclr2020.anomaly.input_complexity`.

Needs zuko: `pip install "iclr2020-methods[flows]"`.

References:
    | Normalizing Flows: An Introduction and Review of Current Methods (Kobyzev et al., 2019)
      | https://arxiv.org/abs/1908.09257
    | NICE: Non-linear Independent Components Estimation (Dinh et al., 2014)
      | https://arxiv.org/abs/1410.8516
    | Density estimation using Real NVP (Dinh et al., 2016) | https://arxiv.org/abs/1605.08803
    | Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017)
      | https://arxiv.org/abs/1705.07057
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from iclr2020.checks import positive, sizes
from iclr2020.citation import Reference

try:
    from zuko.distributions import DiagNormal
    from zuko.flows import MAF, Flow, GeneralCouplingTransform
    from zuko.lazy import UnconditionalDistribution, UnconditionalTransform
    from zuko.transforms import AdditiveTransform, LULinearTransform, MonotonicAffineTransform
except ImportError as error:
    raise ImportError(
        'zuko is needed; get it by: pip install "iclr2020-methods[flows]"', name="zuko"
    ) from error

REFERENCES = (
    Reference(
        key="kobyzev2019flows",
        title="Normalizing Flows: An Introduction and Review of Current Methods",
        authors=("Kobyzev, Ivan", "Prince, Simon J. D.", "Brubaker, Marcus A."),
        year=2019,
        venue="arXiv preprint",
        arxiv="1908.09257",
    ),
    Reference(
        key="dinh2014nice",
        title="{NICE}: Non-linear Independent Components Estimation",
        authors=("Dinh, Laurent", "Krueger, David", "Bengio, Yoshua"),
        year=2014,
        venue="arXiv preprint",
        arxiv="1410.8516",
    ),
    Reference(
        key="dinh2016realnvp",
        title="Density estimation using Real {NVP}",
        authors=("Dinh, Laurent", "Sohl-Dickstein, Jascha", "Bengio, Samy"),
        year=2017,
        arxiv="1605.08803",
    ),
    Reference(
        key="papamakarios2017maf",
        title="Masked Autoregressive Flow for Density Estimation",
        authors=("Papamakarios, George", "Pavlakou, Theo", "Murray, Iain"),
        year=2017,
        venue="Advances in Neural Information Processing Systems",
        arxiv="1705.07057",
    ),
)


def nice(features: int, context: int = 0, *, layers: int = 4, width: int = 64) -> Flow:
    """Additive coupling, and a scale for each dimension at the end.

    Args:
        features: dimensions, at least 2.
        context: dimensions of what it depends on; 0: nothing.
        layers: of coupling, from 1.
        width: of the two hidden layers of each.

    Example:
        >>> flow = nice(2)
        >>> flow().log_prob(torch.randn(5, 2)).shape
        torch.Size([5])
    """
    couplings = _couplings(features, context, layers, width, AdditiveTransform, ((),))
    scale = UnconditionalTransform(
        MonotonicAffineTransform, shift=torch.zeros(features), scale=torch.zeros(features)
    )
    return Flow([*couplings, scale], _standard(features))


def real_nvp(
    features: int, context: int = 0, *, layers: int = 4, width: int = 64, lu: bool = False
) -> Flow:
    """Affine coupling, with learned linear maps between the layers if `lu` is set.

    Args:
        features: dimensions, at least 2.
        context: dimensions of what it depends on; 0: nothing.
        layers: of coupling, from 1.
        width: of the two hidden layers of each.
        lu: a product of triangular matrices before each layer, as an invertible 1 x 1 convolution.

    Example:
        >>> flow = real_nvp(2, context=3, lu=True)
        >>> flow(torch.randn(5, 3)).log_prob(torch.randn(5, 2)).shape
        torch.Size([5])
    """
    couplings = _couplings(features, context, layers, width, MonotonicAffineTransform, ((), ()))
    if not lu:
        return Flow(couplings, _standard(features))
    between = [UnconditionalTransform(LULinearTransform, torch.eye(features)) for _ in couplings]
    both = [one for pair in zip(between, couplings, strict=True) for one in pair]
    return Flow(both, _standard(features))


def autoregressive(features: int, context: int = 0, *, layers: int = 3, width: int = 64) -> Flow:
    """A masked autoregressive flow: densities in one pass, samples one dimension at a time.

    Args:
        features: dimensions.
        context: dimensions of what it depends on; 0: nothing.
        layers: each with the order of the dimensions turned around.
        width: of the two hidden layers of each.

    Example:
        >>> autoregressive(3)().sample((4,)).shape
        torch.Size([4, 3])
    """
    hidden = (positive("width", width),) * 2
    return MAF(features, context, transforms=positive("layers", layers), hidden_features=hidden)


def dequantize(
    pixels: Tensor, levels: int = 256, *, generator: torch.Generator | None = None
) -> Tensor:
    """Whole numbers from 0 to levels - 1 with uniform noise, as numbers from 0 to 1.

    The noise ends below 1 by as much as rounding could add: ``(x * levels).floor()`` are the
    pixels again.

    Args:
        pixels: (...): of any whole or floating type.
        levels: how many there are.

    Returns:
        (...) in the default dtype.

    Raises:
        ValueError: there are too many levels for the dtype.

    Example:
        >>> x = dequantize(torch.tensor([0, 255], dtype=torch.uint8))
        >>> (x * 256).floor()
        tensor([  0., 255.])
    """
    x = pixels.to(torch.get_default_dtype())
    rounding = 2 * positive("levels", levels) * torch.finfo(x.dtype).eps
    if rounding > 0.01:
        raise ValueError(f"levels: expected few enough for {x.dtype}, got {levels}")
    noise = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return (x + noise.clamp(max=1 - rounding)) / levels


def bits_per_dimension(log_density: Tensor, dimensions: int, levels: int = 256) -> Tensor:
    """What it takes to store a pixel, by a density of dequantised pixels.

    A uniform density has log2(levels) bits.

    Args:
        log_density: (...): natural logarithms, of `dequantize`'s numbers.
        dimensions: of an example.
        levels: of a pixel.

    Example:
        >>> bits_per_dimension(torch.zeros(1), 784)
        tensor([8.])
    """
    return math.log2(levels) - log_density / (positive("dimensions", dimensions) * math.log(2))


def logit(x: Tensor, least: float = 1e-4) -> tuple[Tensor, Tensor]:
    """From numbers between 0 and 1 to all real ones, and the log of the Jacobian's determinant.

    Args:
        x: (N, D), from 0 to 1.
        least: how far from 0 and 1 numbers are kept, by a linear map before.

    Returns:
        (N, D) and (N,).

    Example:
        >>> logit(torch.tensor([[0.5]]), least=0.0)
        (tensor([[0.]]), tensor([1.3863]))
    """
    sizes("x", x, "N D")
    inner = least + (1 - 2 * least) * x
    y = inner.log() - (-inner).log1p()
    slope = (1 - 2 * least) / (inner * (1 - inner))
    return y, slope.log().sum(1)


class FlowErrors(NamedTuple):
    """The largest errors over all examples; infinity where one isn't a number."""

    inverse: float  #: of going there and back
    log_det: float  #: beside that of its Jacobian by autograd
    log_prob: float  #: beside that of z plus the log determinant of the Jacobian


def check_flow(flow: nn.Module, x: Tensor, context: Tensor | None = None) -> FlowErrors:
    """Hold a flow to the change of variables, by its Jacobian.

    Args:
        flow: a flow of zuko.
        x: (N, D): where.
        context: (N, C), if it has one.

    Example:
        >>> errors = check_flow(real_nvp(3).double(), torch.randn(4, 3).double())
        >>> max(errors) < 1e-9
        True
    """
    count, _ = sizes("x", x, "N D")
    errors = torch.zeros(3, dtype=x.dtype, device=x.device)
    for index in range(count):
        one = None if context is None else context[index]
        distribution: Any = flow(one)
        transform, point = distribution.transform, x[index].detach()
        z, log_det = transform.call_and_ladj(point)
        jacobian = torch.func.jacrev(transform)(point)
        exact = torch.linalg.slogdet(jacobian).logabsdet
        both = distribution.base.log_prob(z) + exact
        seen = torch.stack([
            (transform.inv(z) - point).abs().max(),
            (log_det - exact).abs(),
            (distribution.log_prob(point) - both).abs(),
        ])  # fmt: skip
        errors = torch.maximum(errors, seen.detach())
    return FlowErrors(*errors.nan_to_num(nan=math.inf).tolist())


def mass(flow: nn.Module, low: float, high: float, points: int = 200) -> float:
    """The integral of a two-dimensional density over a square, by the midpoint rule.

    Args:
        flow: a flow of zuko without a context.
        low: where both dimensions begin.
        high: where they end.
        points: in each dimension.

    Example:
        >>> round(mass(real_nvp(2), -8, 8), 2)
        1.0
    """
    step = (high - low) / positive("points", points)
    like = next(flow.parameters())
    side = low + step * (torch.arange(points, device=like.device, dtype=like.dtype) + 0.5)
    grid = torch.cartesian_prod(side, side)
    with torch.no_grad():
        distribution: Any = flow()
        return float(distribution.log_prob(grid).exp().sum() * step**2)


def _couplings(
    features: int, context: int, layers: int, width: int, univariate: Any, shapes: Any
) -> list[nn.Module]:
    """Layers that transform one half by the other, in turn."""
    if positive("features", features) < 2:
        raise ValueError(f"features: expected at least 2 to couple, got {features}")
    return [
        GeneralCouplingTransform(
            features, context, mask=torch.arange(features) % 2 == layer % 2,
            univariate=univariate, shapes=shapes, hidden_features=(positive("width", width),) * 2,
        )
        for layer in range(positive("layers", layers))
    ]  # fmt: skip


def _standard(features: int) -> UnconditionalDistribution:
    return UnconditionalDistribution(
        DiagNormal, loc=torch.zeros(features), scale=torch.ones(features), buffer=True
    )
