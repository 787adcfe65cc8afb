r"""Clipped gradient descent, and diagnostics of the smoothness that makes clipping pay.

Where curvature grows with the gradient, a step size that is safe at steep points is needlessly
small at flat ones; clipping adapts it.

.. math::
    \|\nabla^2 f(x)\| &\le L_0 + L_1 \|\nabla f(x)\| \qquad \text{($(L_0, L_1)$-smoothness)} \\
    x_{k+1} &= x_k - h_k \nabla f(x_k), \qquad
        h_k = \min(\eta, \gamma \eta / \|\nabla f(x_k)\|) \\
    \hat L(x, d) &= \max_{\alpha \in (0, 1]}
        \frac{\|\nabla f(x + \alpha d) - \nabla f(x)\|}{\alpha \|d\|}

:math:`\hat L` is what `local_smoothness` measures along the step d that an optimizer has just
made, in any training loop: `watch` it, and `fit` L0 and L1 to what was seen.

Assumptions: the loss is the same function each time it is called, that is of the same batch; else
its noise is taken for curvature, most of all for small steps. Random numbers are the same each
time (dropout), and running averages are put back if they are named (`buffers`).

References:
    | Why gradient clipping accelerates training: A theoretical justification for adaptivity
      (Zhang et al., 2020) | https://arxiv.org/abs/1905.11881
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from iclr2020.checks import positive
from iclr2020.citation import Reference

REFERENCES = (
    Reference(
        key="zhang2020clipping",
        title="Why gradient clipping accelerates training: A theoretical justification for "
        "adaptivity",
        authors=("Zhang, Jingzhao", "He, Tianxing", "Sra, Suvrit", "Jadbabaie, Ali"),
        year=2020,
        arxiv="1905.11881",
    ),
)

Loss = Callable[[], Tensor]


def step_size(norm: Tensor, lr: float, clip: float) -> Tensor:
    """The step size of clipped gradient descent, min(lr, clip lr / norm).

    Args:
        norm: of the gradient; any shape.
        lr: eta.
        clip: gamma, the longest gradient that is followed as it is.

    Example:
        >>> step_size(torch.tensor([0.0, 1.0, 10.0]), lr=0.1, clip=2.0)
        tensor([0.1000, 0.1000, 0.0200])
    """
    return lr * (clip / norm).clamp(max=1)


class ClippedGD(Optimizer):
    """Gradient descent with the gradient of all parameters together clipped to a length.

    The same as `torch.nn.utils.clip_grad_norm_` before `torch.optim.SGD`, except that gradients
    are left as they are, and that the length is exact (that function adds 1e-6 to the norm).

    Args:
        params: as for every optimizer. Groups may have their own `lr` and `clip`; the norm is
            that of all.
        lr: eta.
        clip: gamma.

    Raises:
        ValueError: `lr` or `clip` isn't above 0.

    Example:
        >>> x = torch.tensor([3.0, 4.0], requires_grad=True)
        >>> optimizer = ClippedGD([x], lr=1.0, clip=1.0)
        >>> x.square().sum().backward()
        >>> optimizer.step()
        >>> x.detach()
        tensor([2.4000, 3.2000])
    """

    def __init__(self, params: Any, lr: float, clip: float) -> None:
        super().__init__(params, {"lr": positive("lr", lr), "clip": positive("clip", clip)})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; returns what the closure does, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        everything = [p for group in self.param_groups for p in _with_gradients(group["params"])]
        if not everything:
            return loss
        norm = gradient_norm(everything)
        for group in self.param_groups:
            size = step_size(norm, group["lr"], group["clip"])
            for parameter in _with_gradients(group["params"]):
                parameter.sub_(size.to(parameter) * parameter.grad)
        return loss


def gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """The length of all gradients together; 0 if there are none.

    Of half precision is computed in float32.
    """
    return _norm([p.grad for p in parameters if p.grad is not None])


class Smoothness(NamedTuple):
    """What was seen at one step."""

    gradient_norm: float  #: where the step began
    smoothness: float  #: the largest change of the gradient along the step, per length
    step_length: float


def local_smoothness(
    loss: Loss,
    parameters: Sequence[Tensor],
    before: Sequence[Tensor],
    *,
    alphas: Sequence[float] = (0.25, 0.5, 0.75, 1.0),
    buffers: Iterable[Tensor] = (),
) -> Smoothness:
    """How much the gradient changes along a step that was just made; leaves all as it is.

    Costs one gradient for each of the alphas, and one at the beginning of the step.

    Args:
        loss: the loss at the parameters as they are when it is called.
        parameters: after the step; of those that require a gradient.
        before: what they were before it.
        alphas: where to look, as shares of the step.
        buffers: what else the loss may change, such as running averages.

    Returns:
        Nothing but nan and the length if that isn't finite.

    Raises:
        ValueError: nothing has moved.

    Example:
        >>> x = torch.tensor([1.0], requires_grad=True)
        >>> local_smoothness(lambda: 3 * x.square().sum(), [x], [torch.tensor([0.0])])
        Smoothness(gradient_norm=0.0, smoothness=6.0, step_length=1.0)
    """
    after = [p.detach().clone() for p in parameters]
    step = torch._foreach_sub(after, list(before))
    length = _norm(step)
    if length == 0:
        raise ValueError("local_smoothness: expected a step, but no parameter has moved")
    if not length.isfinite():
        return Smoothness(math.nan, math.nan, float(length))
    changed = list(buffers)
    kept = [one.detach().clone() for one in changed]
    try:
        start = _gradients(loss, parameters, before)
        ratios = []
        for alpha in alphas:
            point = torch._foreach_add(list(before), step, alpha=alpha)
            change = torch._foreach_sub(_gradients(loss, parameters, point), start)
            ratios.append(_norm(change) / (alpha * length))
    finally:
        _move(parameters, after)
        _move(changed, kept)
    return Smoothness(float(_norm(start)), float(torch.stack(ratios).max()), float(length))


@contextmanager
def watch(
    loss: Loss,
    parameters: Iterable[Tensor],
    into: list[Smoothness],
    *,
    buffers: Iterable[Tensor] = (),
) -> Iterator[None]:
    """Measure the step that is made within, and append it.

    Args:
        loss: of the batch at hand, a function of the parameters alone.
        parameters: of the model.
        into: gets what was seen; nothing if the step has moved nothing.
        buffers: of the model.

    Example:
        >>> model, seen = torch.nn.Linear(1, 1, bias=False), []
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> loss = lambda: 2 * model(torch.ones(1, 1)).square().sum()
        >>> loss().backward()
        >>> with watch(loss, model.parameters(), seen):
        ...     optimizer.step()
        >>> round(seen[0].smoothness, 3)
        4.0
    """
    moved = [p for p in parameters if p.requires_grad]
    before = [p.detach().clone() for p in moved]
    yield
    if any(not torch.equal(p, old) for p, old in zip(moved, before, strict=True)):
        into.append(local_smoothness(loss, moved, before, buffers=buffers))


class Fit(NamedTuple):
    """The smallest line above nothing that follows what was seen, and how strongly they go
    together.
    """

    l0: float
    l1: float
    log_correlation: float  #: of their logarithms; nan if one of them is constant, or 0 once


def fit(seen: Sequence[Smoothness]) -> Fit:
    """L0 and L1 by least squares, neither below 0, of the steps whose numbers are finite.

    Raises:
        ValueError: there are fewer than 2 of them.

    Example:
        >>> found = fit([Smoothness(g, 1 + 2 * g, 0.1) for g in (1.0, 2.0, 4.0)])
        >>> round(found.l0, 6), round(found.l1, 6)
        (1.0, 2.0)
    """
    pairs = [(one.gradient_norm, one.smoothness) for one in seen]
    finite = [pair for pair in pairs if all(map(math.isfinite, pair))]
    if len(finite) < 2:
        raise ValueError(f"fit: expected at least 2 finite steps, got {len(finite)}")
    data = torch.tensor(finite, dtype=torch.float64)
    g, smoothness = data.unbind(1)
    spread = g.var(correction=0)
    slope = (((g - g.mean()) * smoothness).mean() / spread) if spread > 0 else g.new_zeros(())
    l0 = smoothness.mean() - slope * g.mean()
    if slope < 0:
        slope, l0 = slope.new_zeros(()), smoothness.mean()
    elif l0 < 0:
        slope, l0 = (g * smoothness).sum() / g.square().sum(), slope.new_zeros(())
    together = torch.corrcoef(data.log().T)[0, 1]
    return Fit(float(l0), float(slope), float(together))


def _with_gradients(parameters: Iterable[Tensor]) -> list[Any]:
    return [p for p in parameters if p.grad is not None]


def _gradients(loss: Loss, parameters: Sequence[Tensor], at: Sequence[Tensor]) -> list[Tensor]:
    _move(parameters, at)
    devices = list({p.device for p in parameters if p.is_cuda})
    with torch.enable_grad(), torch.random.fork_rng(devices):
        found = torch.autograd.grad(loss(), list(parameters), allow_unused=True)
    return [
        torch.zeros_like(p) if one is None else one
        for one, p in zip(found, parameters, strict=True)
    ]


@torch.no_grad()
def _move(parameters: Sequence[Tensor], to: Sequence[Tensor]) -> None:
    for parameter, value in zip(parameters, to, strict=True):
        parameter.copy_(value)


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    if not tensors:
        return torch.zeros(())
    halves = torch.float16, torch.bfloat16
    norms = torch._foreach_norm([one.float() if one.dtype in halves else one for one in tensors])
    total: Tensor = torch.linalg.vector_norm(torch.stack([one.to(norms[0]) for one in norms]))
    return total
