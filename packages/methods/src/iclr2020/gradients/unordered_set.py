r"""The unordered-set estimator: gradients through a choice, from samples without replacement.

Draw k different categories at once (the k largest of perturbed log-probabilities), forget their
order, and take the expectation given the set (Rao-Blackwell). The other members of the set make
a baseline for each member at no cost.

.. math::
    p(S) &= \sum_{b \in \text{orders of } S} \prod_{i=1}^k
        \frac{p(b_i)}{1 - \sum_{j<i} p(b_j)} \\
    R(S, s) &= \frac{p^{D \setminus s}(S \setminus s)}{p(S)}, \qquad
    R^{D \setminus s}(S, s') = \frac{p^{D \setminus \{s, s'\}}(S \setminus \{s, s'\})}
        {p^{D \setminus s}(S \setminus s)}, \quad R^{D \setminus s}(S, s) = 1 \\
    E[f] &\approx \sum_{s \in S} p(s) R(S, s) f(s) \\
    \nabla E[f] &\approx \sum_{s \in S} \nabla p(s)\, R(S, s)
        \Big[ f(s) - \sum_{s' \in S} p(s') R^{D \setminus s}(S, s') f(s') \Big]

:math:`p^{D \setminus C}` is the distribution without the categories in C. Shapes: logits are
(..., n), samples (..., k), costs f(s) (..., k). It is unbiased for every k, and exact for k = n.

`log_p_set` counts all k! orders up to k = 4, and beyond takes a one-dimensional integral:
:math:`p(S) = \phi \int_0^1 u^{\phi - 1} \prod_{s \in S} (1 - u^{p(s)}) du` with
:math:`\phi = 1 - \sum_{s \in S} p(s)`, in log space, by the trapezoidal rule after a substitution
that makes both ends fall off doubly exponentially.

Traps: a baseline of :math:`\sum p R f` without the correction by :math:`R^{D \setminus s}` is
biased. Where the set has nearly all of the mass, the sum over it is exact and R is 1.

References:
    | Estimating Gradients for Discrete Random Variables by Sampling without Replacement
      (Kool et al., 2020) | https://arxiv.org/abs/2002.06043
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from iclr2020.checks import sizes
from iclr2020.citation import Reference

REFERENCES = (
    Reference(
        key="kool2020unordered",
        title="Estimating Gradients for Discrete Random Variables by Sampling without Replacement",
        authors=("Kool, Wouter", "van Hoof, Herke", "Welling, Max"),
        year=2020,
        arxiv="2002.06043",
    ),
)

_MOST_BY_ORDERS = 4
_ALL = 1e-5  #: a rest of the mass below this counts as none
_POINTS, _REACH = 200, 4.0  #: of the integral, in t
_GONE = 50.0  #: exp(-50) is none of the mass


def sample_without_replacement(
    logits: Tensor, k: int, *, generator: torch.Generator | None = None
) -> Tensor:
    """The k largest of the logits with Gumbel noise: k different categories, in drawn order.

    Args:
        logits: (..., n); -inf for categories that can't be drawn.
        k: from 1 to n.

    Returns:
        (..., k) int64.

    Raises:
        ValueError: `k` is out of range.

    Example:
        >>> sample_without_replacement(torch.zeros(2, 4), 4).sort().values
        tensor([[0, 1, 2, 3],
                [0, 1, 2, 3]])
    """
    (n,) = sizes("logits", logits, "... n")
    if not 1 <= k <= n:
        raise ValueError(f"k: expected a number from 1 to {n}, got {k}")
    uniform = torch.rand(
        logits.shape, generator=generator, device=logits.device, dtype=torch.float64
    )
    gumbel = -(-uniform.clamp(min=1e-300).log()).log()
    return (logits.detach() + gumbel).topk(k, -1).indices


def log_p_set(log_p: Tensor, *, by: str = "auto") -> Tensor:
    """log p(S): the probability of drawing this set in any order.

    Args:
        log_p: (..., k): of the members of the set; the other categories have the rest.
        by: "orders" counts all k! of them, "integral" takes the integral; "auto" chooses.

    Returns:
        (...,), 0 for an empty set.

    Example:
        >>> log_p_set(torch.tensor([0.5, 0.25]).log()).exp()  # 1/2 * 1/2 + 1/4 * 2/3
        tensor(0.4167)
    """
    (k,) = sizes("log_p", log_p, "... k")
    _one_of(by)
    if k == 0:
        return log_p.new_zeros(log_p.shape[:-1])
    if by == "orders" or (by == "auto" and k <= _MOST_BY_ORDERS):
        return _by_orders(log_p)
    return _by_integral(log_p.double()).to(log_p.dtype)  # 1 - sum p loses digits


def log_ratios(log_p: Tensor, *, by: str = "auto") -> Tensor:
    """log R(S, s) for each member s of the set.

    Args:
        log_p: (..., k).
        by: as for `log_p_set`.

    Returns:
        (..., k).

    Example:
        >>> p = torch.tensor([0.5, 0.25])
        >>> (p * log_ratios(p.log()).exp()).sum()  # the weights of the estimate
        tensor(1.)
    """
    (k,) = sizes("log_p", log_p, "... k")
    without = _without(log_p.unsqueeze(-2).expand(*log_p.shape[:-1], k, k))
    found = log_p_set(without, by=by) - log_p_set(log_p, by=by)[..., None]
    return _none_where_all(log_p, found)


def second_log_ratios(log_p: Tensor, *, by: str = "auto") -> Tensor:
    r"""log of :math:`R^{D \\setminus s}(S, s')`, for s in rows and s' in columns.

    Returns:
        (..., k, k), with 0 on the diagonal.

    Example:
        >>> second_log_ratios(torch.tensor([0.5, 0.25]).log()).exp()
        tensor([[1.0000, 2.0000],
                [1.5000, 1.0000]])
    """
    (k,) = sizes("log_p", log_p, "... k")
    if k == 1:
        return log_p.new_zeros(*log_p.shape, 1)
    rest = _without(log_p.unsqueeze(-2).expand(*log_p.shape[:-1], k, k))  # (..., s, k - 1)
    ratios = log_ratios(rest, by=by)
    return _none_where_all(log_p[..., None, :], _with_diagonal(ratios, k))


def unordered_set_estimate(log_p: Tensor, f: Tensor, *, by: str = "auto") -> Tensor:
    """An unbiased estimate of E[f]; it isn't meant to be differentiated, see the surrogate.

    Args:
        log_p: (..., k): of the drawn categories.
        f: (..., k): their costs.

    Returns:
        (...,).

    Example:
        >>> unordered_set_estimate(torch.tensor([0.5, 0.5]).log(), torch.tensor([1.0, 3.0]))
        tensor(2.)
    """
    sizes("f", f, " ".join(map(str, log_p.shape)))
    return ((log_p + log_ratios(log_p, by=by)).exp() * f).sum(-1)


def unordered_set_surrogate(
    log_p: Tensor, f: Tensor, *, baseline: bool = True, by: str = "auto"
) -> Tensor:
    """A loss whose gradient is the unbiased estimate of the gradient of E[f].

    In place of REINFORCE's `log_p * f.detach()`: sum over the batch, and call backward.

    Args:
        log_p: (..., k): of the drawn categories, with a gradient to the logits.
        f: (..., k): their costs; a gradient through them counts as it does in E[f].
        baseline: each member's from the others; for k = 1 there is none.

    Returns:
        (...,): the value is the estimate of E[f] itself.

    Example:
        >>> logits = torch.zeros(3, requires_grad=True)
        >>> s = sample_without_replacement(logits, 3)
        >>> log_p = logits.log_softmax(-1)[s]
        >>> unordered_set_surrogate(log_p, s.float()).backward()  # exact: all were drawn
        >>> logits.grad
        tensor([-0.3333,  0.0000,  0.3333])
    """
    sizes("f", f, " ".join(map(str, log_p.shape)))
    kept = log_p.detach()
    weights = (kept + log_ratios(kept, by=by)).exp()
    cost = f.detach()
    if baseline and f.shape[-1] > 1:
        second = second_log_ratios(kept, by=by).exp()
        cost = cost - (kept.exp()[..., None, :] * second * cost[..., None, :]).sum(-1)
    score = log_p - kept  # 0, with the gradient of log p
    return (weights * (f + cost * score)).sum(-1)


def _by_orders(log_p: Tensor) -> Tensor:
    """Each order's product, as log p(b_i) - log(1 - what came before)."""
    k = log_p.shape[-1]
    orders = torch.tensor(list(itertools.permutations(range(k))), device=log_p.device)
    ordered = log_p[..., orders]  # (..., k!, k)
    before = ordered.exp().cumsum(-1)[..., :-1]
    # A rest of 0 or below it, by rounding, belongs to a set that has all of the mass.
    tiny = torch.finfo(log_p.dtype).tiny
    left = torch.log1p(-before.clamp(max=1 - torch.finfo(log_p.dtype).eps)).clamp(
        min=math.log(tiny)
    )
    return (ordered.sum(-1) - left.sum(-1)).logsumexp(-1)


def _by_integral(log_p: Tensor) -> Tensor:
    r"""The integral over v = -log u of phi exp(-phi v) prod(1 - exp(-p v)).

    With log v = a t - exp(-t) + c both ends fall off quickly, and the trapezoidal rule converges
    exponentially; c puts t = 0 where the likeliest member is drawn, and a the end where
    all of the mass lies before.
    """
    rest = -torch.expm1(log_p.logsumexp(-1).clamp(max=-torch.finfo(log_p.dtype).eps))
    t = torch.linspace(-_REACH, _REACH, _POINTS, device=log_p.device, dtype=log_p.dtype)
    c = -(rest + log_p.exp().amax(-1)).log()
    k = log_p.shape[-1]  # with small probabilities, phi v has nearly a gamma distribution
    a = (((_GONE + k + 10 * k**0.5) / rest).log() - c) / _REACH
    log_v = a[..., None] * t - (-t).exp() + c[..., None]
    v = log_v.exp()
    log_hits = torch.log(-torch.expm1(-(log_p.exp()[..., None] * v[..., None, :]))).sum(-2)
    log_dv = log_v + (a[..., None] + (-t).exp()).log()
    inside = rest.log()[..., None] - rest[..., None] * v + log_hits + log_dv
    found: Tensor = inside.logsumexp(-1) + math.log(2 * _REACH / (_POINTS - 1))
    return found


def _none_where_all(log_p: Tensor, ratios: Tensor) -> Tensor:
    """R is 1 where the set has all of the mass."""
    rest = 1 - log_p.exp().sum(-1, keepdim=True)
    return torch.where(rest < _ALL, 0.0, ratios)


def _without(rows: Tensor) -> Tensor:
    """(..., k, k) without its diagonal, what is left renormalized: (..., k, k - 1)."""
    lead, k = rows.shape[:-2], rows.shape[-1]
    gone = rows.diagonal(dim1=-2, dim2=-1)[..., None]
    kept = rows.flatten(-2)[..., 1:].reshape(*lead, max(k - 1, 0), k + 1)[..., :-1]
    eps = torch.finfo(rows.dtype).eps
    return kept.reshape(*lead, k, k - 1) - torch.log1p(-gone.exp().clamp(max=1 - eps))


def _with_diagonal(rows: Tensor, k: int) -> Tensor:
    """(..., k, k - 1) with zeros put on the diagonal: (..., k, k)."""
    lead = rows.shape[:-2]
    padded = torch.nn.functional.pad(rows.reshape(*lead, k - 1, k), (1, 0)).flatten(-2)
    return torch.nn.functional.pad(padded, (0, 1)).reshape(*lead, k, k)


def _one_of(by: str) -> None:
    if by not in ("auto", "orders", "integral"):
        raise ValueError(f"by: expected auto, orders or integral, got {by!r}")
