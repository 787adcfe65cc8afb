r"""MIGE: the gradient of mutual information from samples, by estimates of the scores.

To make a representation keep (or lose) information, the gradient of I(x; z) is enough. It follows
from the scores of z and of (x, z) jointly, and those from samples alone, by the spectral Stein
gradient estimator: the score expanded in eigenfunctions of a kernel.

.. math::
    \nabla_\theta I(x; z) &= -E[\nabla_z \log p(z)\, \nabla_\theta z]
        + E[\nabla_{(x, z)} \log p(x, z)\, \nabla_\theta (x, z)] \\
    \hat\psi_j(x) &= \frac{\sqrt M}{\lambda_j} \sum_{m=1}^M u_{jm}\, k(x, x_m), \qquad
        K u_j = \lambda_j u_j \\
    \hat\beta_j &= -\frac1M \sum_{m=1}^M \nabla \hat\psi_j(x_m), \qquad
    \nabla \log p(x) \approx \sum_{j=1}^J \hat\beta_j \hat\psi_j(x)

with the kernel :math:`k(x, y) = \exp(-\|x - y\|^2 / (2 h^2))`, h the median distance, and J the
least number of eigenvalues that have a share (0.99) of their sum.

Assumptions: densities that are smooth and vanish at the boundary; enough samples for their
dimension: the estimate shrinks towards 0 as the dimension grows, and so does the gradient. In
high dimension project x at random first (`random_projection`).

References:
    | Mutual Information Gradient Estimation for Representation Learning (Wen et al., 2020)
      | https://arxiv.org/abs/2005.01123
    | A Spectral Approach to Gradient Estimation for Implicit Distributions (Shi et al., 2018)
      | https://arxiv.org/abs/1806.02925
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iclr2020.checks import between, positive, sizes
from iclr2020.citation import Reference

REFERENCES = (
    Reference(
        key="wen2020mige",
        title="Mutual Information Gradient Estimation for Representation Learning",
        authors=("Wen, Liangjian", "Zhou, Yiji", "He, Lirong", "Zhou, Mingyuan", "Xu, Zenglin"),
        year=2020,
        arxiv="2005.01123",
    ),
    Reference(
        key="shi2018ssge",
        title="A Spectral Approach to Gradient Estimation for Implicit Distributions",
        authors=("Shi, Jiaxin", "Sun, Shengyang", "Zhu, Jun"),
        year=2018,
        venue="International Conference on Machine Learning",
        arxiv="1806.02925",
    ),
)


def median_width(x: Tensor) -> Tensor:
    """The median distance between two different samples, 1 if that is 0.

    Args:
        x: (M, d), at least 2 samples.

    Example:
        >>> median_width(torch.tensor([[0.0], [1.0], [3.0]]))
        tensor(2.)
    """
    samples, _ = sizes("x", x, "M d")
    if samples < 2:
        raise ValueError(f"x: expected at least 2 samples, got {samples}")
    width = nn.functional.pdist(x.detach()).median()
    return torch.where(width > 0, width, 1.0)


def stein_score(
    samples: Tensor,
    at: Tensor | None = None,
    *,
    share: float = 0.99,
    width: float | None = None,
) -> Tensor:
    """The score, grad log p, estimated from samples of p (SSGE). It has no gradient itself.

    Args:
        samples: (M, d), at least 2.
        at: (N, d): where it is wanted; at the samples if it is None.
        share: of the sum of eigenvalues that those which are used have, above 0 to 1.
        width: of the kernel; the median distance if it is None.

    Returns:
        (N, d), or (M, d).

    Raises:
        ShapeError: the shapes don't go together.
        ValueError: there are too few samples, or `share` or `width` is out of range.

    Example:
        >>> x = torch.randn(500, 1, generator=torch.Generator().manual_seed(0))
        >>> score = stein_score(x, torch.tensor([[-1.0], [1.0]]))  # of N(0, 1): -x
        >>> (score.flatten() - torch.tensor([1.0, -1.0])).abs().max() < 0.3
        tensor(True)
    """
    m, d = sizes("samples", samples, "M d")
    points = samples if at is None else at
    sizes("at", points, "N d", d=d)
    between("share", share, torch.finfo(samples.dtype).tiny, 1)
    x, points = samples.detach(), points.detach()
    h = median_width(x) if width is None else torch.as_tensor(positive("width", width)).to(x)
    gram = _kernel(x, x, h)
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values.flip(0), vectors.flip(1)
    j = _used(values, share)
    values, vectors = values[:j], vectors[:, :j]
    basis = vectors * (m**0.5 / values)  # psi_j(y) = sum_m k(y, x_m) basis_mj
    # grad_y k(y, x_m) = -(y - x_m) k / h^2, averaged over the samples y:
    total = gram.sum(0)
    mean_gradient = -(gram @ x - total[:, None] * x) / (h**2 * m)  # (M, d), of k(., x_m)
    beta = -(basis.T @ mean_gradient)  # (J, d)
    found: Tensor = (_kernel(points, x, h) @ basis) @ beta
    return found


def mutual_information_surrogate(x: Tensor, z: Tensor, *, share: float = 0.99) -> Tensor:
    """A number whose gradient is the estimated gradient of I(x; z); its value means nothing.

    Args:
        x: (M, d): the inputs; without a gradient, they are taken as given.
        z: (M, e): the representation of each, with a gradient to what is trained.
        share: as of `stein_score`.

    Returns:
        A scalar. Add it with a minus sign to a loss to keep information, with a plus to lose it.

    Raises:
        ShapeError: the shapes don't go together.

    Example:
        >>> x = torch.randn(64, 2)
        >>> z = (x + torch.randn(64, 2)).requires_grad_()
        >>> mutual_information_surrogate(x, z).backward()
        >>> z.grad.shape
        torch.Size([64, 2])
    """
    samples, _ = sizes("x", x, "M d")
    sizes("z", z, "M e", M=samples)
    joint = torch.cat([x, z], 1)
    of_joint, of_z = stein_score(joint, share=share), stein_score(z, share=share)
    found: Tensor = ((of_joint * joint).sum(1) - (of_z * z).sum(1)).mean()
    return found


def entropy_surrogate(z: Tensor, *, share: float = 0.99) -> Tensor:
    """A number whose gradient is the estimated gradient of the entropy of z.

    Args:
        z: (M, e), with a gradient to what is trained.
        share: as of `stein_score`.

    Example:
        >>> z = torch.randn(64, 2, requires_grad=True)
        >>> entropy_surrogate(z).backward()
    """
    sizes("z", z, "M e")
    found: Tensor = -(stein_score(z, share=share) * z).sum(1).mean()
    return found


def random_projection(
    x: Tensor, dimensions: int, *, generator: torch.Generator | None = None
) -> Tensor:
    """Fewer dimensions by random normal directions, which keep distances on average.

    Args:
        x: (M, d).
        dimensions: of the result.

    Returns:
        (M, dimensions).

    Example:
        >>> random_projection(torch.randn(5, 100), 3).shape
        torch.Size([5, 3])
    """
    _, d = sizes("x", x, "M d")
    shape = d, int(positive("dimensions", dimensions))
    matrix = torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)
    found: Tensor = x @ (matrix / shape[1] ** 0.5)
    return found


def _kernel(x: Tensor, y: Tensor, width: Tensor) -> Tensor:
    """Exact distances: by products small ones are lost in rounding."""
    distance = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    return (-distance.square() / (2 * width**2)).exp()


def _used(values: Tensor, share: float) -> int:
    """How many of the eigenvalues, largest first, have the share; none that is only rounding."""
    floor = values[0] * len(values) * torch.finfo(values.dtype).eps
    positive_values = values.clamp(min=0)
    reached = positive_values.cumsum(0) >= share * positive_values.sum()
    wanted = int(reached.int().argmax()) + 1
    return max(1, min(wanted, int((values > floor).sum())))
