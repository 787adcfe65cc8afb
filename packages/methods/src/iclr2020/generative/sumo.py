r"""SUMO: an unbiased estimator of the log marginal likelihood of a latent variable model.

The importance weighted bound of k samples is lower than log p(x), by less and less as k grows.
SUMO takes a random number of them and weighs the gains so that, on average, it has taken them all.

.. math::
    \log w_i &= \log p(x, z_i) - \log q(z_i | x), \qquad z_i \sim q(z | x) \\
    IWAE_k &= \log \frac{1}{k} \sum_{i=1}^k w_i \\
    SUMO &= IWAE_m + \sum_{j=1}^{K}
        \frac{IWAE_{m+j} - IWAE_{m+j-1}}{P(\mathcal{K} \ge j)},
        \qquad K \sim P(\mathcal{K})

The weights are one over the *survival* :math:`P(K \ge j)`; with :math:`P(K \le j)`, as it is
sometimes printed, the estimator is biased.

Assumptions: log w has a finite variance under q, and the tail of K is heavy enough for the gains,
which fall like :math:`1/j^2`. The paper's tail, `survival`, falls like :math:`1/j` up to 80 only:
the cost has a small mean, and the variance is finite for gains that fall faster.

To train with it, the decoder goes up (or, for a reverse KL divergence, down) the estimate, and the
encoder, on which the mean of the estimate doesn't depend, down the mean of its square, which is
its variance. Clip the gradients: the tails are heavy. `experiments/sumo.py` does that.

References:
    | SUMO: Unbiased Estimation of Log Marginal Probability for Latent Variable Models
      (Luo et al., 2020) | https://arxiv.org/abs/2004.00353
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from iclr2020.checks import positive, sizes
from iclr2020.citation import Reference

REFERENCES = (
    Reference(
        key="luo2020sumo",
        title="{SUMO}: Unbiased Estimation of Log Marginal Probability for Latent Variable Models",
        authors=(
            "Luo, Yucen",
            "Beatson, Alex",
            "Norouzi, Mohammad",
            "Zhu, Jun",
            "Duvenaud, David",
            "Adams, Ryan P.",
            "Chen, Ricky T. Q.",
        ),
        year=2020,
        arxiv="2004.00353",
    ),
)

_KNEE = 80
_DECAY = 0.9


def iwae_bounds(log_w: Tensor) -> Tensor:
    """The importance weighted bounds of the first 1, 2, ..., k samples.

    Args:
        log_w: (k, ...): log weights, samples first.

    Returns:
        (k, ...): in row i, log of the mean of the first i + 1 weights.

    Example:
        >>> iwae_bounds(torch.tensor([1.0, 3.0]).log()).exp()
        tensor([1., 2.])
    """
    counts = torch.arange(1, len(log_w) + 1, device=log_w.device, dtype=log_w.dtype)
    return torch.logcumsumexp(log_w, 0) - counts.log().view(-1, *[1] * (log_w.dim() - 1))


def survival(j: Tensor) -> Tensor:
    r"""The paper's tail P(K >= j): 1 / j below 80, then :math:`0.9^{j - 80} / 80`.

    Args:
        j: numbers from 1; integers are taken as numbers of the default dtype.

    Example:
        >>> survival(torch.tensor([1, 2, 80]))
        tensor([1.0000, 0.5000, 0.0125])
    """
    at = j if j.is_floating_point() else j.to(torch.get_default_dtype())
    return 1 / at.clamp(max=_KNEE) * _DECAY ** (at - _KNEE).clamp(min=0)


def sample_terms(count: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Draw the numbers of terms K, by inversion of the paper's tail.

    The mean of K is 5.08: that is what an estimate costs, in samples beyond the first.

    Args:
        count: how many to draw.

    Returns:
        (count,): integers from 1.

    Raises:
        ValueError: `count` isn't above 0.
    """
    u = torch.rand(positive("count", count), generator=generator, dtype=torch.float64)
    u = 1 - u  # in (0, 1]: K is the largest j with P(K >= j) >= u
    head = (1 / u).floor()
    tail = _KNEE + ((u * _KNEE).log() / math.log(_DECAY)).floor()
    return torch.where(head < _KNEE, head, tail).long()


def sumo(log_w: Tensor, terms: Tensor, *, least: int = 1) -> Tensor:
    """The unbiased estimates of log p(x).

    Args:
        log_w: (k, batch): log p(x, z) - log q(z | x) of independent samples, k at least `least`
            plus the largest of `terms`. Each of the batch uses only the first `least` + K of its
            samples; the others have no effect, and have to be finite.
        terms: (batch,): K of each of the batch, such as of `sample_terms`.
        least: m, the samples of the first bound: more of them, less variance.

    Returns:
        (batch,).

    Raises:
        ShapeError: the shapes don't go together.
        ValueError: there are fewer samples than the terms need.

    Example:
        >>> log_w = torch.tensor([[0.5], [0.5], [0.5]])  # all bounds are the same: nothing to add
        >>> sumo(log_w, torch.tensor([2]))
        tensor([0.5000])
    """
    samples, batch = sizes("log_w", log_w, "k batch")
    sizes("terms", terms, "batch", batch=batch)
    most = int(terms.max())
    if samples < positive("least", least) + most:
        needed = f"least + max(terms) = {least + most}"
        raise ValueError(f"log_w: expected at least {needed} rows, got {samples}")
    bounds = iwae_bounds(log_w[: least + most])[least - 1 :]
    j = torch.arange(1, most + 1, device=log_w.device)[:, None]
    weights = (j <= terms) / survival(j.to(log_w))
    return bounds[0] + (weights * bounds.diff(dim=0)).sum(0)
