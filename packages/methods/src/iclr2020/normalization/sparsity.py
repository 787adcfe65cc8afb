r"""Sparsity normalization: a network's output no longer rises and falls with how much is observed.

Where missing values are filled with zeros, the mean of every hidden unit is proportional to the
share of values that are there. Multiplying each row by the usual number of observed values over
its own number makes up for that.

.. math::
    x' = (x \odot m)\, \frac{K}{\|m\|_1}, \qquad K = \frac{1}{N} \sum_{i=1}^N \|m^{(i)}\|_1

For weights that are drawn independently with mean :math:`\mu_w`, the mean over weights of a unit
of the first layer is :math:`\mu_w \sum_j x_j m_j` with zeros, and
:math:`\mu_w K \cdot \mathrm{mean}_{j: m_j = 1}\, x_j` with this.

Traps: the norm is that of the mask, not of the data; K comes from the training set alone. Where
values have been centred before, zeros are means already, and there is little left to normalize.

References:
    | Why Not to Use Zero Imputation? Correcting Sparsity Bias in Training Neural Networks
      (Yi et al., 2020) | https://arxiv.org/abs/1906.00150
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from iclr2020.checks import sizes
from iclr2020.citation import Reference

REFERENCES = (
    Reference(
        key="yi2020sparsity",
        title="Why Not to Use Zero Imputation? Correcting Sparsity Bias in Training Neural "
        "Networks",
        authors=(
            "Yi, Joonyoung",
            "Lee, Juhyuk",
            "Kim, Kwang Joon",
            "Hwang, Sung Ju",
            "Yang, Eunho",
        ),
        year=2020,
        arxiv="1906.00150",
    ),
)


def mean_count(mask: Tensor) -> float:
    """K: how many values a row of the training set has on average.

    Args:
        mask: (N, D): True for what was observed.

    Raises:
        ValueError: nothing was observed at all.

    Example:
        >>> mean_count(torch.tensor([[True, False], [True, True]]))
        1.5
    """
    rows, _ = sizes("mask", mask, "N D")
    count = int(mask.sum())
    if not count:
        raise ValueError("mask: expected something that was observed, got nothing")
    return count / rows


def normalize_sparsity(x: Tensor, mask: Tensor, k: float) -> Tensor:
    """Zero for what is missing, and the rest scaled up by how much is.

    Args:
        x: (..., D); where the mask is False, it may hold anything.
        mask: (..., D).
        k: what `mean_count` says of the training set.

    Returns:
        (..., D); a row in which nothing was observed is 0.

    Example:
        >>> x = torch.tensor([[2.0, float("nan")], [1.0, 3.0]])
        >>> normalize_sparsity(x, ~x.isnan(), k=1.5)
        tensor([[3.0000, 0.0000],
                [0.7500, 2.2500]])
    """
    sizes("x", x, "... D")
    if mask.shape != x.shape:
        sizes("mask", mask, " ".join(map(str, x.shape)))
    count = mask.sum(-1, keepdim=True).clamp(min=1).to(x.dtype)
    return x.masked_fill(~mask, 0) * (k / count)


class SparsityNorm(nn.Module):
    """The same as the first layer of a network.

    It has no parameters; `fit` sets K once, from the masks of the training set.

    Args:
        features: D.

    Shape:
        - x: (..., features), where nan is missing unless a mask of that shape says what is.
        - Output: (..., features).

    Raises:
        RuntimeError: it wasn't fitted.

    Example:
        >>> train = torch.tensor([[1.0, float("nan")], [1.0, 3.0]])
        >>> norm = SparsityNorm(2).fit(~train.isnan())
        >>> norm(torch.tensor([[2.0, float("nan")]]))
        tensor([[3., 0.]])
    """

    k: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("k", torch.tensor(math.nan, dtype=torch.float64))

    def fit(self, mask: Tensor) -> SparsityNorm:
        """Take K from the masks of the training set, (N, features); returns itself."""
        sizes("mask", mask, "N D", D=self.features)
        self.k.fill_(mean_count(mask))
        return self

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The normalized rows."""
        sizes("x", x, "... D", D=self.features)
        if self.k.isnan():
            raise RuntimeError("SparsityNorm: expected a call of fit(mask) before, got none")
        return normalize_sparsity(x, ~x.isnan() if mask is None else mask, float(self.k))

    def extra_repr(self) -> str:
        """Size and K."""
        return f"{self.features}, k={float(self.k):g}"


def sparsity_effect(outputs: Tensor, mask: Tensor) -> Tensor:
    """The check: how each output of a network goes with the number of values observed.

    A network that was trained on data where the two have nothing to do with each other should
    show correlations near 0; large ones say that it counts what is there.

    Args:
        outputs: (N, outputs): logits or predictions for N rows.
        mask: (N, D): of the inputs.

    Returns:
        (outputs,): Pearson correlations; 0 where either is constant.

    Example:
        >>> mask = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1]]).bool()
        >>> outputs = torch.tensor([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
        >>> sparsity_effect(outputs, mask).round(decimals=3)
        tensor([1., 0.])
    """
    rows, _ = sizes("outputs", outputs, "N outputs")
    sizes("mask", mask, "N D", N=rows)
    count = mask.sum(-1).to(outputs.dtype)
    count = count - count.mean()
    centred = outputs - outputs.mean(0)
    together = (centred * count[:, None]).sum(0)
    lengths = centred.norm(dim=0) * count.norm()
    return torch.where(lengths > 0, together / lengths.where(lengths > 0, 1), 0)
