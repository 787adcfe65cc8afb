r"""RAdam's rectification: when the adaptive step can be trusted, and how much of it to take.

Adam's adaptive rate has a large variance while few gradients were seen. RAdam knows that variance
in closed form, scales the step down by it, and does without the adaptive rate where it would not
be finite.

.. math::
    \rho_\infty &= \frac{2}{1 - \beta_2} - 1, \qquad
    \rho_t = \rho_\infty - \frac{2 t \beta_2^t}{1 - \beta_2^t} \\
    r_t &= \sqrt{\frac{(\rho_t - 4)(\rho_t - 2) \rho_\infty}
                      {(\rho_\infty - 4)(\rho_\infty - 2) \rho_t}} \\
    \theta_t &= \theta_{t-1} - \alpha_t
        \begin{cases} r_t \hat m_t / (\sqrt{\hat v_t} + \epsilon) & \rho_t > \text{threshold} \\
                      \hat m_t & \text{else} \end{cases}

The optimizer itself is `torch.optim.RAdam`; here are its diagnostics and the controls that its
paper compares it with: Adam that waits (`Adam2k`), and Adam with a large epsilon (`adam_eps`).
Adam with `warmup` is the usual alternative.

Traps: the threshold is 4 in the paper, 5 (or more) in its authors' code, above 5 in torch: with
beta2 = 0.999 the first adaptive step is the fifth or the sixth. The authors' code skips the
steps before that altogether by default.

References:
    | On the Variance of the Adaptive Learning Rate and Beyond (Liu et al., 2020)
      | https://arxiv.org/abs/1908.03265
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer, RAdam
from torch.optim.lr_scheduler import LambdaLR

from iclr2020.checks import between, positive
from iclr2020.citation import Reference

REFERENCES = (
    Reference(
        key="liu2020radam",
        title="On the Variance of the Adaptive Learning Rate and Beyond",
        authors=(
            "Liu, Liyuan",
            "Jiang, Haoming",
            "He, Pengcheng",
            "Chen, Weizhu",
            "Liu, Xiaodong",
            "Gao, Jianfeng",
            "Han, Jiawei",
        ),
        year=2020,
        arxiv="1908.03265",
    ),
)

PAPER_THRESHOLD = 4.0  #: rho above which the paper rectifies
TORCH_THRESHOLD = 5.0  #: and `torch.optim.RAdam`


def rho_limit(beta2: float) -> float:
    """The length of the moving average of the squares once many were seen.

    Example:
        >>> rho_limit(0.999)
        1998.9999...
    """
    return 2 / (1 - between("beta2", beta2, 0, math.nextafter(1, 0))) - 1


def rho(step: int, beta2: float) -> float:
    """Its length after so many steps, from 1.

    Example:
        >>> round(rho(5, 0.999), 3)
        4.996
    """
    power = beta2 ** positive("step", step)
    return rho_limit(beta2) - 2 * step * power / (1 - power)


def rectification(step: int, beta2: float, threshold: float = TORCH_THRESHOLD) -> float | None:
    """r_t; None where the adaptive rate isn't used.

    Args:
        step: from 1.
        beta2: of the squares.
        threshold: of rho; at least 4, where the variance is infinite.

    Example:
        >>> rectification(5, 0.999), round(rectification(6, 0.999), 4)
        (None, 0.0258)
    """
    now, limit = rho(step, beta2), rho_limit(beta2)
    if now <= between("threshold", threshold, PAPER_THRESHOLD, math.inf):
        return None
    return math.sqrt((now - 4) * (now - 2) * limit / ((limit - 4) * (limit - 2) * now))


def first_rectified_step(beta2: float, threshold: float = TORCH_THRESHOLD) -> int | None:
    """The first step whose rate is adaptive; None if there never is one.

    Example:
        >>> first_rectified_step(0.999, PAPER_THRESHOLD), first_rectified_step(0.999)
        (5, 6)
    """
    if rho_limit(beta2) <= threshold:
        return None
    step = 1
    while rectification(step, beta2, threshold) is None:
        step += 1
    return step


def variance_of_rate(rho_value: float) -> float:
    r"""The variance of the rate :math:`\sqrt{\rho / \chi^2_\rho}`, for gradients of N(0, 1).

    The paper's r_t is the square root of the least variance over this, by a first-order
    approximation of it. Infinite for rho up to 2; large near it.

    Example:
        >>> round(variance_of_rate(10.0), 4)
        0.0755
    """
    if rho_value <= 2:
        return math.inf
    half = rho_value / 2
    mean = math.exp(0.5 * math.log(half) + math.lgamma(half - 0.5) - math.lgamma(half))
    return rho_value / (rho_value - 2) - mean**2


class StepInfo(NamedTuple):
    """What a step of RAdam is like."""

    step: int
    rho: float
    rectification: float | None  #: None: the step isn't adaptive
    learning_rate: float  #: of the group
    adaptive_rate: float | None  #: r_t times that: what multiplies m / (sqrt(v) + eps)


def diagnose(optimizer: RAdam) -> list[StepInfo]:
    """The last step of each parameter group; empty groups and those without a step are left out.

    Raises:
        TypeError: it isn't `torch.optim.RAdam`.

    Example:
        >>> x = torch.ones(1, requires_grad=True)
        >>> optimizer = torch.optim.RAdam([x], lr=0.1)
        >>> x.sum().backward()
        >>> optimizer.step()
        >>> diagnose(optimizer)[0].rectification is None
        True
    """
    if not isinstance(optimizer, RAdam):
        raise TypeError(f"expected torch.optim.RAdam, got {type(optimizer).__name__}")
    found = []
    for group in optimizer.param_groups:
        steps = [int(optimizer.state[p]["step"]) for p in group["params"] if p in optimizer.state]
        if steps:
            beta2, rate = group["betas"][1], float(group["lr"])
            r = rectification(max(steps), beta2)
            now = rho(max(steps), beta2)
            found.append(StepInfo(max(steps), now, r, rate, None if r is None else r * rate))
    return found


class Adam2k(Adam):
    """Adam that gathers its squares for so many steps before the parameters move.

    As in the paper's control, the momentum begins with the movement. How far it is, is known from
    the state of the parameters, so that a run that is resumed doesn't wait again.

    Args:
        params: as for every optimizer.
        lr: as of `torch.optim.Adam`.
        wait: steps without movement.
        options: of `torch.optim.Adam`.

    Raises:
        ValueError: `wait` isn't above 0.

    Example:
        >>> x = torch.ones(1, requires_grad=True)
        >>> optimizer = Adam2k([x], lr=0.1, wait=1)
        >>> for _ in range(2):
        ...     x.grad = torch.ones(1)
        ...     optimizer.step()
        ...     print(x.item() < 1)
        False
        True
    """

    def __init__(self, params: Any, lr: float = 1e-3, *, wait: int = 2000, **options: Any) -> None:
        super().__init__(params, lr=lr, **options)
        self.defaults["wait"] = positive("wait", wait)
        for group in self.param_groups:
            group.setdefault("wait", wait)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; returns what the closure does, if there is one."""
        waiting = [group for group in self.param_groups if self._waits(group)]
        rates = [group["lr"] for group in waiting]
        for group in waiting:
            group["lr"] = 0.0
        try:
            loss = super().step(closure)
        finally:
            for group, rate in zip(waiting, rates, strict=True):
                group["lr"] = rate
        for group in waiting:
            for parameter in group["params"]:
                if parameter in self.state:
                    self.state[parameter]["exp_avg"].zero_()
        return loss

    def _waits(self, group: dict[str, Any]) -> bool:
        taken = (self.state[p]["step"] for p in group["params"] if self.state.get(p))
        return not any(steps >= group["wait"] for steps in taken)


def adam_eps(parameters: Any, lr: float, eps: float = 1e-4, **options: Any) -> Adam:
    """Adam whose epsilon is large enough to bound the variance of its rate.

    Example:
        >>> adam_eps([torch.ones(1, requires_grad=True)], lr=0.1).defaults["eps"]
        0.0001
    """
    return Adam(parameters, lr=lr, eps=positive("eps", eps), **options)


def warmup(optimizer: Optimizer, steps: int) -> LambdaLR:
    """A schedule that raises the learning rate linearly over the first steps.

    Example:
        >>> optimizer = torch.optim.Adam([torch.ones(1, requires_grad=True)], lr=1.0)
        >>> warmup(optimizer, 4).get_last_lr()
        [0.25]
    """
    last = positive("steps", steps)
    return LambdaLR(optimizer, lambda done: min(1.0, (done + 1) / last))


def rate_variance_of(gradients: Tensor, beta2: float) -> Tensor:
    """What the adaptive rate does in truth: its variance over independent runs, by step.

    Args:
        gradients: (steps, runs): independent gradients.
        beta2: of the squares.

    Returns:
        (steps,): the variance over runs of 1 / sqrt(bias-corrected v).

    Example:
        >>> rate_variance_of(torch.ones(3, 5), 0.9).round(decimals=6)
        tensor([0., 0., 0.])
    """
    v = torch.zeros_like(gradients[0])
    found = []
    for step, gradient in enumerate(gradients, 1):
        v = beta2 * v + (1 - beta2) * gradient.square()
        found.append((v / (1 - beta2**step)).rsqrt().var())
    return torch.stack(found)
