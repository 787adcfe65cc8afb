r"""Incremental learning: gradient descent on a product of factors learns one value after another.

Where a value is the product of several factors that begin small and equal, it stays near its
start for a time that depends on its target, and then grows quickly: large ones are learned first,
and the deeper the product, the more clearly one after the other.

.. math::
    L &= \tfrac12 \sum_i (\sigma_i - \sigma_i^*)^2, \qquad
        \sigma_i = \prod_{n=1}^N w_{in}, \quad w_{in}(0) = \sigma_0^{1/N} \\
    \dot\sigma_i &= N \sigma_i^{2 - 2/N} (\sigma_i^* - \sigma_i)
        \qquad \text{(gradient flow)} \\
    \sigma_i(t) &= \frac{\sigma_0 \sigma_i^* e^{2 \sigma_i^* t}}
        {\sigma_i^* - \sigma_0 + \sigma_0 e^{2 \sigma_i^* t}} \qquad (N = 2)

Learning is (s, f)-incremental in two values if at some time the larger one has reached the share
f of its target while the smaller one is below the share s of its own.

Trap: one weight to the power N (tied factors) learns N times as fast as N factors: the factor is
N squared there.

References:
    | The Implicit Bias of Depth: How Incremental Learning Drives Generalization
      (Gissin et al., 2020) | https://arxiv.org/abs/1909.12051
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from iclr2020.checks import between, positive, sizes
from iclr2020.citation import Reference

REFERENCES = (
    Reference(
        key="gissin2020incremental",
        title="The Implicit Bias of Depth: How Incremental Learning Drives Generalization",
        authors=("Gissin, Daniel", "Shalev-Shwartz, Shai", "Daniely, Amit"),
        year=2020,
        arxiv="1909.12051",
    ),
)


def flow(sigma: Tensor, target: Tensor, depth: int, *, tied: bool = False) -> Tensor:
    """The velocity of the values under gradient flow.

    Args:
        sigma: (...): the values now, not below 0.
        target: (...): theirs.
        depth: N, the number of factors.
        tied: the factors are one weight.

    Example:
        >>> flow(torch.tensor(0.5), torch.tensor(1.0), depth=2)
        tensor(0.5000)
    """
    factor = positive("depth", depth) ** (2 if tied else 1)
    return factor * sigma ** (2 - 2 / depth) * (target - sigma)


def value_at(t: Tensor, start: float, target: Tensor, depth: int) -> Tensor:
    """The value at a time, in closed form, for one factor or two.

    Args:
        t: (...): times.
        start: sigma_0, above 0.
        target: (...): above 0; goes together with `t` by broadcasting.
        depth: 1 or 2.

    Raises:
        ValueError: there is no closed form for that depth.

    Example:
        >>> value_at(torch.tensor([0.0, 100.0]), 0.1, torch.tensor(2.0), depth=2)
        tensor([0.1000, 2.0000])
    """
    positive("start", start)
    if depth == 1:
        return target + (start - target) * torch.exp(-t)
    if depth != 2:
        raise ValueError(f"depth: expected 1 or 2, got {depth}; see time_to_reach")
    decay = torch.exp(-2 * target * t)  # of the other sign than in the formula: it can't overflow
    return start * target / ((target - start) * decay + start)


def time_to_reach(share: float, start: float, target: Tensor, depth: int) -> Tensor:
    r"""How long gradient flow takes from `start` to a share of the target.

    By :math:`\int d\sigma / \dot\sigma`, in closed form for depths 1 and 2, else by
    Gauss-Legendre quadrature over the logit of :math:`\sigma / \sigma^*`.

    Args:
        share: of the target, between `start` / target and 1.
        start: sigma_0, above 0 and below share * target.
        target: (...).
        depth: N.

    Returns:
        (...).

    Example:
        >>> t = time_to_reach(0.5, 0.01, torch.tensor(1.0), depth=2)
        >>> value_at(t, 0.01, torch.tensor(1.0), depth=2)
        tensor(0.5000)
    """
    end = between("share", share, 0, 1) * target
    positive("start", start)
    if bool((end <= start).any()) or share == 1:
        raise ValueError(f"expected start < share * target < target, got {start} and {share}")
    if depth == 1:
        return torch.log((target - start) / (target - end))
    if depth == 2:
        return torch.log(end * (target - start) / (start * (target - end))) / (2 * target)
    return _by_quadrature(share, start, target, depth)


def _by_quadrature(share: float, start: float, target: Tensor, depth: int) -> Tensor:
    """In the logit the integrand has no pole at the target: it is sigma^(2/N - 1) / (N target)."""
    import numpy as np

    nodes, weights = (
        torch.as_tensor(one, dtype=target.dtype, device=target.device)
        for one in np.polynomial.legendre.leggauss(200)
    )
    low, high = math.log(start) - (target - start).log(), math.log(share / (1 - share))
    half = (high - low) / 2
    u = (low + half)[..., None] + half[..., None] * nodes
    log_sigma = target.log()[..., None] + torch.nn.functional.logsigmoid(u)
    integrand = torch.exp((2 / depth - 1) * log_sigma)
    return half * (weights * integrand).sum(-1) / (depth * target)


def is_incremental(path: Tensor, targets: Tensor, s: float, f: float) -> Tensor:
    """Whether each two neighbouring values were learned one after the other.

    Args:
        path: (times, values): the values, in the order of their targets, largest first.
        targets: (values,).
        s: the smaller one is below this share of its target ...
        f: ... when the larger one has reached this share of its own.

    Returns:
        (values - 1,): bool.

    Example:
        >>> path = torch.tensor([[0.0, 0.0], [1.9, 0.05], [2.0, 1.0]])
        >>> is_incremental(path, torch.tensor([2.0, 1.0]), s=0.1, f=0.9)
        tensor([True])
    """
    _, values = sizes("path", path, "times values")
    sizes("targets", targets, "values", values=values)
    shares = path / targets
    return ((shares[:, :-1] >= f) & (shares[:, 1:] <= s)).any(0)


class Passed(NamedTuple):
    """When each value passed a low and a high share of its target; -1: never."""

    low: Tensor  #: (values,) int64
    high: Tensor


def passed(path: Tensor, targets: Tensor, s: float = 0.1, f: float = 0.9) -> Passed:
    """The first times at which each value has reached these shares of its target.

    Args:
        path: (times, values).
        targets: (values,).

    Example:
        >>> passed(torch.tensor([[0.0], [0.5], [0.95]]), torch.tensor([1.0]))
        Passed(low=tensor([1]), high=tensor([2]))
    """
    _, values = sizes("path", path, "times values")
    sizes("targets", targets, "values", values=values)
    shares = path / targets
    return Passed(_first(shares >= s), _first(shares >= f))


def _first(reached: Tensor) -> Tensor:
    return torch.where(reached.any(0), reached.int().argmax(0), -1)


class Factorized(nn.Module):
    """A vector whose entries are products of factors that begin equal.

    Args:
        size: entries.
        depth: N, factors of each.
        start: sigma_0, what each entry begins as; above 0.

    Shape:
        - Output: (size,).

    Example:
        >>> Factorized(2, depth=3, start=0.008)()
        tensor([0.0080, 0.0080], grad_fn=<ProdBackward1>)
    """

    def __init__(self, size: int, depth: int, start: float) -> None:
        super().__init__()
        self.start = positive("start", start)
        shape = positive("depth", depth), positive("size", size)
        self.factors = nn.Parameter(torch.empty(shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All factors alike."""
        nn.init.constant_(self.factors, self.start ** (1 / len(self.factors)))

    def forward(self) -> Tensor:
        """The vector."""
        return self.factors.prod(0)


class DeepLinear(nn.Module):
    """A square matrix as a product of matrices that begin as multiples of the identity.

    Args:
        size: rows and columns.
        depth: N, matrices.
        start: the singular values it begins with; above 0.

    Shape:
        - Output: (size, size).

    Example:
        >>> DeepLinear(2, depth=2, start=0.25)()
        tensor([[0.2500, 0.0000],
                [0.0000, 0.2500]], grad_fn=<...>)
    """

    def __init__(self, size: int, depth: int, start: float) -> None:
        super().__init__()
        self.start = positive("start", start)
        shape = positive("depth", depth), positive("size", size), size
        self.factors = nn.Parameter(torch.empty(shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All matrices alike."""
        eye = torch.eye(self.factors.shape[1]) * self.start ** (1 / len(self.factors))
        with torch.no_grad():
            self.factors.copy_(eye.expand_as(self.factors))

    def forward(self) -> Tensor:
        """The matrix."""
        first, *others = self.factors
        found: Tensor = first
        for one in others:
            found = one @ found
        return found


def train(
    model: nn.Module,
    loss: Callable[[Tensor], Tensor],
    seen: Callable[[Tensor], Tensor],
    *,
    lr: float,
    steps: int,
) -> Tensor:
    """Plain gradient descent, and what was seen of the output before each step and at the end.

    Args:
        model: without inputs.
        loss: of its output.
        seen: (values,) of its output, such as its singular values.

    Returns:
        (steps + 1, values).

    Example:
        >>> model, target = Factorized(1, depth=2, start=0.1), torch.tensor([1.0])
        >>> path = train(model, lambda x: (x - target).square().sum() / 2, lambda x: x, lr=0.1,
        ...              steps=200)
        >>> path[[0, -1]].squeeze()
        tensor([0.1000, 1.0000])
    """
    path = []
    parameters = list(model.parameters())
    for _ in range(steps):
        output = model()
        path.append(seen(output.detach()))
        gradients = torch.autograd.grad(loss(output), parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(lr * gradient)
    path.append(seen(model().detach()))
    return torch.stack(path)
