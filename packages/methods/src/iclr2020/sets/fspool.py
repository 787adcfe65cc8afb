r"""FSPool: pool a set of any size by sorting each feature and weighting the sorted values.

The weight of a value depends on its rank alone, by a learned piecewise linear function of the
relative rank, so that sets of all sizes share it. Max, mean, sum and median pooling are special
cases. The order that sorting found can be undone (`FSUnpool`): that makes a decoder whose output
follows the order of the encoder's input, so that an auto-encoder of sets needs no assignment.

.. math::
    r_j &= (j - 1) / \max(n - 1, 1), \qquad j = 1, \ldots, n \\
    f(r, w) &= \sum_{k=0}^{P} \max(0, 1 - |r P - k|)\, w_k \\
    y_i &= \sum_{j=1}^{n} \overrightarrow{X}_{ij}\, f(r_j, \bar w_i)
        \qquad (\overrightarrow{X}_i \text{ sorted, largest first}) \\
    X'_{i \pi_i(j)} &= y_i\, f(r_j, \bar w'_i) \qquad \text{(unpooling)}

Shapes: x is (batch, features, n); a mask of (batch, n) says which elements are there. What is not
there has no effect, whatever it holds (nan, inf), and gets no gradient.

The order is a step function of the input: no gradient says what another order would have given.
With a temperature, sorting is relaxed to rows of weights that are a softmax each (NeuralSort),

.. math::
    \hat P_{j \cdot} = \mathrm{softmax}\left(\frac{(n + 1 - 2 j)\, x - A_x 1}{\tau}\right),
        \qquad (A_x)_{kl} = |x_k - x_l|

which tend to the order as :math:`\tau` goes to 0, and cost n times the memory of it.

Trap: to fill up with a large negative constant, as is often done, breaks for values below it, and
in float16; here what is not there is sorted to the end by the mask.

References:
    | FSPool: Learning Set Representations with Featurewise Sort Pooling
      (Zhang et al., 2020) | https://arxiv.org/abs/1906.02795
    | Stochastic Optimization of Sorting Networks via Continuous Relaxations
      (Grover et al., 2019) | https://arxiv.org/abs/1903.08850
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iclr2020.checks import positive, sizes
from iclr2020.citation import Reference

REFERENCES = (
    Reference(
        key="zhang2020fspool",
        title="{FSPool}: Learning Set Representations with Featurewise Sort Pooling",
        authors=("Zhang, Yan", "Hare, Jonathon", 'Pr{\\"u}gel-Bennett, Adam'),
        year=2020,
        arxiv="1906.02795",
    ),
    Reference(
        key="grover2019stochastic",
        title="Stochastic Optimization of Sorting Networks via Continuous Relaxations",
        authors=("Grover, Aditya", "Wang, Eric", "Zweig, Aaron", "Ermon, Stefano"),
        year=2019,
        arxiv="1903.08850",
    ),
)


def relative_ranks(counts: Tensor, n: int) -> Tensor:
    """The relative rank of each place in sets of these sizes, 0 for the first and 1 for the last.

    Args:
        counts: (batch,): how many elements each set has.
        n: places of the largest set.

    Returns:
        (batch, n), in the default dtype unless `counts` is floating point; above 1 for places
        that a set doesn't have.

    Example:
        >>> relative_ranks(torch.tensor([3, 1]), 3)
        tensor([[0.0000, 0.5000, 1.0000],
                [0.0000, 1.0000, 2.0000]])
    """
    (_,) = sizes("counts", counts, "batch")
    at = counts if counts.is_floating_point() else counts.to(torch.get_default_dtype())
    places = torch.arange(n, device=at.device, dtype=at.dtype)
    return places / (at - 1).clamp(min=1)[:, None]


def rank_weights(weight: Tensor, ranks: Tensor) -> Tensor:
    """The piecewise linear functions at these ranks.

    Args:
        weight: (features, pieces + 1): the values at 0, 1/pieces, ..., 1.
        ranks: (batch, n): from 0 to 1; what is above counts as 1.

    Returns:
        (batch, features, n).

    Example:
        >>> rank_weights(torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([[0.0, 0.25, 1.0]]))
        tensor([[[0.0000, 0.5000, 0.0000]]])
    """
    _, values = sizes("weight", weight, "features pieces+1")
    sizes("ranks", ranks, "batch n")
    at = ranks.clamp(max=1) * (values - 1)
    left = at.floor().clamp(max=max(values - 2, 0)).long()
    share = at - left
    low = weight[:, left].transpose(0, 1)
    high = weight[:, (left + 1).clamp(max=values - 1)].transpose(0, 1)
    return low + (high - low) * share[:, None]


def sort_features(x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Each feature in falling order, what is not there last and 0.

    Args:
        x: (batch, features, n).
        mask: (batch, n): True for the elements that are there; None: all are.

    Returns:
        The sorted values and where each came from, both (batch, features, n).

    Example:
        >>> sort_features(torch.tensor([[[1.0, 3.0, 2.0]]]), torch.tensor([[True, False, True]]))
        (tensor([[[2., 1., 0.]]]), tensor([[[2, 0, 1]]]))
    """
    batch, _, n = sizes("x", x, "batch features n")
    if mask is not None:
        sizes("mask", mask, "batch n", batch=batch, n=n)
        x = x.masked_fill(~mask[:, None], -torch.inf)
    values, order = x.sort(dim=-1, descending=True)
    if mask is None:
        return values, order
    beyond = torch.arange(n, device=x.device) >= mask.sum(-1, keepdim=True)
    return values.masked_fill(beyond[:, None], 0), order


def relaxed_sort(
    x: Tensor, temperature: float, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`sort_features` with a gradient of the order: each place gets a mean of the elements.

    Args:
        x: (batch, features, n).
        temperature: tau: the smaller, the nearer to the order.
        mask: (batch, n): True for the elements that are there; None: all are.

    Returns:
        The values, (batch, features, n), and the weights that each place (row) gives to each
        element (column), (batch, features, n, n). Rows add up to 1; those of places that a set
        doesn't have are 0.

    Raises:
        ValueError: `temperature` isn't above 0.

    Example:
        >>> values, weights = relaxed_sort(torch.tensor([[[1.0, 3.0, 2.0]]]), temperature=0.1)
        >>> values
        tensor([[[3.0000, 2.0000, 1.0000]]])
        >>> weights.argmax(-1)
        tensor([[[1, 2, 0]]])
    """
    batch, _, n = sizes("x", x, "batch features n")
    if mask is None:
        mask = x.new_ones(1, n, dtype=torch.bool)
    else:
        sizes("mask", mask, "batch n", batch=batch, n=n)
    x = x.masked_fill(~mask[:, None], 0)
    apart = (x[..., :, None] - x[..., None, :]).abs() * mask[:, None, None]
    places = torch.arange(n, device=x.device)
    counts = mask.sum(-1, keepdim=True)
    scale = (counts - 1 - 2 * places).to(x.dtype)[:, None, :, None]
    scores = (scale * x[..., None, :] - apart.sum(-1)[..., None, :]) / positive(
        "temperature", temperature
    )
    there = mask[:, None, None] & (places < counts)[:, None, :, None]
    lowest = torch.finfo(x.dtype).min
    weights = scores.masked_fill(~there, lowest).softmax(-1).masked_fill(~there, 0)
    return (weights @ x[..., None]).squeeze(-1), weights


class FSPool(nn.Module):
    """Pool sets to vectors.

    Args:
        features: of each element.
        pieces: P, of the piecewise linear function. A set of at most P + 1 elements can have any
            weights; a larger one interpolates.
        temperature: of `relaxed_sort`; None: sorted as it is.

    Shape:
        - x: (batch, features, n); mask: (batch, n), optional.
        - Output: (batch, features), and the order for `FSUnpool`: (batch, features, n), or with a
          temperature (batch, features, n, n).

    An empty set gives 0.

    Raises:
        ValueError: `features`, `pieces` or `temperature` isn't above 0.
        ShapeError: the input has another shape.

    Example:
        >>> pool = FSPool(2, pieces=4)
        >>> x = torch.randn(3, 2, 5)
        >>> pooled, order = pool(x)
        >>> pooled.shape
        torch.Size([3, 2])
        >>> torch.equal(pooled, pool(x.flip(-1))[0])
        True
    """

    def __init__(self, features: int, pieces: int, *, temperature: float | None = None) -> None:
        super().__init__()
        shape = positive("features", features), positive("pieces", pieces) + 1
        self.weight = nn.Parameter(torch.empty(shape))
        self.temperature = None if temperature is None else positive("temperature", temperature)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Standard normal weights."""
        nn.init.normal_(self.weight)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The pooled vectors, and the order of each feature."""
        sizes("x", x, "batch features n", features=len(self.weight))
        if self.temperature is None:
            ordered, order = sort_features(x, mask)
        else:
            ordered, order = relaxed_sort(x, self.temperature, mask)
        return (ordered * _weights(self.weight, x, mask)).sum(-1), order

    def extra_repr(self) -> str:
        """Sizes."""
        shape = f"features={len(self.weight)}, pieces={self.weight.shape[1] - 1}"
        return shape if self.temperature is None else f"{shape}, temperature={self.temperature:g}"


class FSUnpool(nn.Module):
    """From vectors back to sets, each feature in the order that `FSPool` has found.

    Args:
        features: of each element.
        pieces: P, of the piecewise linear function.

    Shape:
        - y: (batch, features); order: as `FSPool` gave it; mask: (batch, n), optional.
        - Output: (batch, features, n); 0 where the mask says that nothing is there.

    Raises:
        ValueError: `features` or `pieces` isn't above 0.
        ShapeError: the input has another shape.

    Example:
        >>> pool, unpool = FSPool(2, pieces=4), FSUnpool(2, pieces=4)
        >>> unpool(*pool(torch.randn(3, 2, 5))).shape
        torch.Size([3, 2, 5])
    """

    def __init__(self, features: int, pieces: int) -> None:
        super().__init__()
        shape = positive("features", features), positive("pieces", pieces) + 1
        self.weight = nn.Parameter(torch.empty(shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Standard normal weights."""
        nn.init.normal_(self.weight)

    def forward(self, y: Tensor, order: Tensor, mask: Tensor | None = None) -> Tensor:
        """The sets."""
        batch, features = sizes("y", y, "batch features", features=len(self.weight))
        relaxed = order.is_floating_point()
        pattern = "batch features n n" if relaxed else "batch features n"
        sizes("order", order, pattern, batch=batch, features=features, n=order.shape[-1])
        places = order[..., 0] if relaxed else order
        spread = y[..., None] * _weights(self.weight, places, mask).to(y.dtype)
        if relaxed:
            found = (spread[..., None, :] @ order.to(y.dtype)).squeeze(-2)
        else:
            found = torch.zeros_like(spread).scatter(-1, order, spread)
        return found if mask is None else found.masked_fill(~mask[:, None], 0)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"features={len(self.weight)}, pieces={self.weight.shape[1] - 1}"


def _weights(weight: Tensor, places: Tensor, mask: Tensor | None) -> Tensor:
    """Of each place in sorted order."""
    batch, _, n = places.shape
    if mask is None:
        counts = weight.new_full((1,), n)  # the same for all of the batch
    else:
        sizes("mask", mask, "batch n", batch=batch, n=n)
        counts = mask.sum(-1).to(weight.dtype)
    return rank_weights(weight, relative_ranks(counts, n))
