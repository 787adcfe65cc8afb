r"""Networks of sets that keep the order: DeepSets, PointNet, and PointNetST with one transmission.

A linear layer that is equivariant to the order of the elements transforms each element and adds,
to all alike, a transform of their mean. A PointNet leaves the mean out of every layer and so can't
compute what depends on other elements; with it in a single layer, PointNetST approximates every
continuous equivariant function on a compact set.

.. math::
    L(X) &= X A + \tfrac{1}{n} 1 1^T X B + 1 c^T, \qquad X \in R^{n \times k} \\
    \text{PointNet:} &\ B = 0 \text{ in all layers};\quad
    \text{PointNetST:}\ B \ne 0 \text{ in one};\quad \text{DeepSets: in all}

Shapes: x is (batch, n, features); a mask of (batch, n) says which elements are there: the mean is
over those, and what is not there has no effect on them.

Trap: the sum in place of the mean is the same function class for sets of one size; with the mean,
B means the same for all sizes.

References:
    | On Universal Equivariant Set Networks (Segol and Lipman, 2020)
      | https://arxiv.org/abs/1910.02421
    | Deep Sets (Zaheer et al., 2017) | https://arxiv.org/abs/1703.06114
    | PointNet: Deep Learning on Point Sets for 3D Classification and Segmentation
      (Qi et al., 2017) | https://arxiv.org/abs/1612.00593
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from iclr2020.checks import positive, sizes
from iclr2020.citation import Reference

REFERENCES = (
    Reference(
        key="segol2020universal",
        title="On Universal Equivariant Set Networks",
        authors=("Segol, Nimrod", "Lipman, Yaron"),
        year=2020,
        arxiv="1910.02421",
    ),
    Reference(
        key="zaheer2017deepsets",
        title="Deep Sets",
        authors=(
            "Zaheer, Manzil",
            "Kottur, Satwik",
            "Ravanbakhsh, Siamak",
            "P{\\'o}czos, Barnab{\\'a}s",
            "Salakhutdinov, Ruslan",
            "Smola, Alexander J.",
        ),
        year=2017,
        venue="Advances in Neural Information Processing Systems",
        arxiv="1703.06114",
    ),
    Reference(
        key="qi2017pointnet",
        title="{PointNet}: Deep Learning on Point Sets for {3D} Classification and Segmentation",
        authors=("Qi, Charles R.", "Su, Hao", "Mo, Kaichun", "Guibas, Leonidas J."),
        year=2017,
        venue="IEEE Conference on Computer Vision and Pattern Recognition",
        arxiv="1612.00593",
    ),
)


def mean_over_set(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """The mean of the elements that are there; 0 if none is.

    Args:
        x: (batch, n, features).
        mask: (batch, n): True for what is there; None: all is.

    Returns:
        (batch, 1, features).

    Example:
        >>> x = torch.tensor([[[1.0], [3.0], [8.0]]])
        >>> mean_over_set(x, torch.tensor([[True, True, False]]))
        tensor([[[2.]]])
    """
    batch, n, _ = sizes("x", x, "batch n features")
    if mask is None:
        return x.sum(1, keepdim=True) / max(n, 1)
    sizes("mask", mask, "batch n", batch=batch, n=n)
    kept = x.masked_fill(~mask[..., None], 0)
    return kept.sum(1, keepdim=True) / mask.sum(1).clamp(min=1).to(x.dtype)[:, None, None]


def power_sums(x: Tensor, exponents: Tensor) -> Tensor:
    r"""The sums :math:`s_j = \sum_i \prod_k x_{ik}^{a_{jk}}`; they generate invariant polynomials.

    Args:
        x: (batch, n, features).
        exponents: (terms, features): whole numbers from 0.

    Returns:
        (batch, terms).

    Example:
        >>> x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
        >>> power_sums(x, torch.tensor([[1, 0], [1, 1], [0, 2]]))
        tensor([[ 4., 14., 20.]])
    """
    *_, features = sizes("x", x, "batch n features")
    sizes("exponents", exponents, "terms features", features=features)
    return x[:, :, None].pow(exponents.to(x.dtype)).prod(-1).sum(1)


class EquivariantLinear(nn.Module):
    """The general linear layer that is equivariant to the order of a set.

    Args:
        inputs: features of each element.
        outputs: features of each element after it.
        transmits: with the mean of the set (B); without, each element is on its own.

    Shape:
        - x: (batch, n, inputs); mask: (batch, n), optional.
        - Output: (batch, n, outputs).

    Example:
        >>> layer = EquivariantLinear(2, 3)
        >>> layer(torch.randn(4, 5, 2)).shape
        torch.Size([4, 5, 3])
    """

    def __init__(self, inputs: int, outputs: int, *, transmits: bool = True) -> None:
        super().__init__()
        self.inputs, self.outputs = positive("inputs", inputs), positive("outputs", outputs)
        self.own = nn.Parameter(torch.empty(outputs, inputs))
        self.mean = nn.Parameter(torch.empty(outputs, inputs)) if transmits else None
        self.bias = nn.Parameter(torch.empty(outputs))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As `nn.Linear`, for each of the two matrices."""
        for matrix in (self.own, self.mean):
            if matrix is not None:
                nn.init.kaiming_uniform_(matrix, a=math.sqrt(5))
        bound = 1 / math.sqrt(self.inputs)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The elements after it."""
        sizes("x", x, "batch n features", features=self.inputs)
        found = nn.functional.linear(x, self.own, self.bias)
        if self.mean is not None:
            found = found + nn.functional.linear(mean_over_set(x, mask), self.mean)
        return found

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.inputs}, {self.outputs}, transmits={self.mean is not None}"


class EquivariantNet(nn.Module):
    """Equivariant layers with ReLU between; see `deep_sets`, `point_net` and `point_net_st`.

    Args:
        widths: features before the first layer, between layers, and after the last.
        transmits: for each layer, whether it has the mean of the set.

    Shape:
        - x: (batch, n, widths[0]); mask: (batch, n), optional.
        - Output: (batch, n, widths[-1]).

    Raises:
        ValueError: there are not as many of `transmits` as layers.

    Example:
        >>> net = EquivariantNet([2, 8, 1], [True, False])
        >>> net(torch.randn(4, 5, 2)).shape
        torch.Size([4, 5, 1])
    """

    def __init__(self, widths: Sequence[int], transmits: Sequence[bool]) -> None:
        super().__init__()
        if len(transmits) != len(widths) - 1 or not transmits:
            raise ValueError(
                f"expected one of transmits for each of {len(widths) - 1} layers, at least 1, "
                f"got {len(transmits)}"
            )
        self.layers = nn.ModuleList(
            EquivariantLinear(before, after, transmits=one)
            for (before, after), one in zip(pairwise(widths), transmits, strict=True)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The elements after all layers."""
        first, *others = self.layers
        found: Tensor = first(x, mask)
        for layer in others:
            found = layer(found.relu(), mask)
        return found


def deep_sets(widths: Sequence[int]) -> EquivariantNet:
    """The mean of the set in every layer.

    Example:
        >>> [layer.mean is not None for layer in deep_sets([1, 4, 1]).layers]
        [True, True]
    """
    return EquivariantNet(widths, [True] * (len(widths) - 1))


def point_net(widths: Sequence[int]) -> EquivariantNet:
    """Each element on its own.

    Example:
        >>> [layer.mean is not None for layer in point_net([1, 4, 1]).layers]
        [False, False]
    """
    return EquivariantNet(widths, [False] * (len(widths) - 1))


def point_net_st(widths: Sequence[int], at: int | None = None) -> EquivariantNet:
    """The mean of the set in one layer, by default the middle one.

    Args:
        widths: as of `EquivariantNet`.
        at: which layer, from 0.

    Raises:
        ValueError: there is no such layer.

    Example:
        >>> [layer.mean is not None for layer in point_net_st([1, 4, 4, 1]).layers]
        [False, True, False]
    """
    layers = len(widths) - 1
    place = layers // 2 if at is None else at
    if not 0 <= place < layers:
        raise ValueError(f"at: expected a layer from 0 to {layers - 1}, got {place}")
    return EquivariantNet(widths, [layer == place for layer in range(layers)])
