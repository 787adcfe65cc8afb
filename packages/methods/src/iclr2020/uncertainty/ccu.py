r"""CCU: a classifier with a certificate that it is not confident far away from its data.

Two mixtures of Gaussians model what the training data are like and what all else is like; where
the second one explains an input better, the prediction becomes uniform. As the mixtures have
closed forms, the confidence is bounded on a whole ball around any point.

.. math::
    \hat p(y | x) &= \frac{p(y | x)\, p(x | i) + \frac{\lambda}{M} p(x | o)}
        {p(x | i) + \lambda\, p(x | o)} \\
    p(x | i) &= \sum_k \alpha_k N(d(x, \mu_k); \sigma_k), \qquad
    p(x | o) = \sum_l \beta_l N(d(x, \nu_l); \theta_l) \\
    \max_{d(x, x_0) \le R}\ \max_y \hat p(y | x) &\le \frac1M \frac{1 + M b}{1 + b}, \qquad
    b = \frac{\sum_k \alpha_k N(\max(d(x_0, \mu_k) - R, 0); \sigma_k)}
        {\lambda \sum_l \beta_l N(d(x_0, \nu_l) + R; \theta_l)}

d is the distance in a space where the data are white, :math:`N(d; \sigma)` an isotropic normal
density there. All of it is computed with logarithms: in 784 dimensions the densities overflow.

Far away the prediction tends to 1 / M if some outside component is wider than every inside one
(`is_uniform_far_away`).

Shapes: the mixtures get x flattened to (N, D).

References:
    | Towards neural networks that provably know when they don't know (Meinke and Hein, 2020)
      | https://arxiv.org/abs/1909.12180
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from iclr2020.checks import positive, sizes
from iclr2020.citation import Reference

REFERENCES = (
    Reference(
        key="meinke2020ccu",
        title="Towards neural networks that provably know when they don't know",
        authors=("Meinke, Alexander", "Hein, Matthias"),
        year=2020,
        arxiv="1909.12180",
    ),
)


class Metric(nn.Module):
    """The distance of a space where data are white.

    Args:
        matrix: (D, D): x is multiplied by it.

    Example:
        >>> metric = Metric(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
        >>> metric(torch.zeros(1, 2), torch.tensor([[1.0, 0.0], [0.0, 3.0]]))
        tensor([[2., 3.]])
    """

    matrix: Tensor

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        size, _ = sizes("matrix", matrix, "D D")
        sizes("matrix", matrix, "D D", D=size)
        self.register_buffer("matrix", matrix)

    @classmethod
    def whitening(cls, x: Tensor, *, least: float = 1e-2) -> Metric:
        """That of the principal components of (N, D); directions of a variance below `least`
        times the largest count as if they had that one.
        """
        sizes("x", x, "N D")
        values, vectors = torch.linalg.eigh(torch.cov(x.T).reshape(x.shape[1], -1))
        values = values.clamp(min=float(values[-1].clamp(min=1e-12)) * least)
        return cls((vectors / values.sqrt()).T.contiguous())

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(N, D) and (K, D) to (N, K)."""
        moved = x @ self.matrix.T, y @ self.matrix.T
        found: Tensor = torch.cdist(*moved, compute_mode="donot_use_mm_for_euclid_dist")
        return found


def log_normal(distance: Tensor, log_sigma: Tensor, dimensions: int) -> Tensor:
    """The log density of an isotropic normal distribution at a distance from its mean.

    Args:
        distance: (..., K).
        log_sigma: (K,).
        dimensions: D.

    Example:
        >>> log_normal(torch.zeros(1), torch.zeros(1), 1)  # -log sqrt(2 pi)
        tensor([-0.9189])
    """
    scale = log_sigma + 0.5 * math.log(2 * math.pi)
    return -0.5 * (distance / log_sigma.exp()).square() - dimensions * scale


class Mixture(nn.Module):
    """Isotropic normal components in a metric.

    Args:
        means: (K, D).
        sigma: (K,).
        weights: (K,): they are normalized.
        metric: shared with others, perhaps.

    Example:
        >>> one = Mixture(torch.zeros(1, 2), torch.ones(1), torch.ones(1), Metric(torch.eye(2)))
        >>> one.log_density(torch.zeros(1, 2)).exp()  # 1 / (2 pi)
        tensor([0.1592], grad_fn=<ExpBackward0>)
    """

    def __init__(self, means: Tensor, sigma: Tensor, weights: Tensor, metric: Metric) -> None:
        super().__init__()
        count, _ = sizes("means", means, "K D", D=len(metric.matrix))
        sizes("sigma", sigma, "K", K=count)
        sizes("weights", weights, "K", K=count)
        self.means = nn.Parameter(means.clone())
        self.log_sigma = nn.Parameter(sigma.log())
        self.logits = nn.Parameter(weights.log())
        self.metric = metric

    @classmethod
    def fit(cls, x: Tensor, components: int, metric: Metric, *, seed: int = 0) -> Mixture:
        """Fit one by expectation maximization (scikit-learn's).

        Args:
            x: (N, D).
            components: K.
            metric: in which they are isotropic.
            seed: of the beginning.

        Raises:
            ImportError: scikit-learn isn't installed; says how to get it.
        """
        try:
            from sklearn.mixture import GaussianMixture
        except ImportError:
            raise ImportError(
                'scikit-learn is needed; get it by: pip install "iclr2020-methods[sklearn]"'
            ) from None
        sizes("x", x, "N D", D=len(metric.matrix))
        white = (x @ metric.matrix.T).detach().cpu().double().numpy()
        mixture = GaussianMixture(
            components, covariance_type="spherical", random_state=seed, init_params="k-means++",
            reg_covar=1e-4, tol=1e-2,
        ).fit(white)  # fmt: skip
        means = torch.linalg.solve(
            metric.matrix.double().cpu(), torch.from_numpy(mixture.means_).T
        ).T
        sigma = torch.from_numpy(mixture.covariances_).sqrt()
        weights = torch.from_numpy(mixture.weights_)
        return cls(means.to(x), sigma.to(x), weights.to(x), metric)

    def log_density(self, x: Tensor) -> Tensor:
        """(N, D) to (N,)."""
        return self._mixed(self.metric(x, self.means))

    def log_bounds(self, x: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """The least and the largest value that the density can have on a ball, as bounds.

        Args:
            x: (N, D): the middles.
            radius: (N,).

        Returns:
            Two of (N,).
        """
        distance = self.metric(x, self.means)
        r = radius[:, None]
        return self._mixed(distance + r), self._mixed((distance - r).clamp(min=0))

    def _mixed(self, distance: Tensor) -> Tensor:
        parts = log_normal(distance, self.log_sigma, self.means.shape[1])
        return (parts + self.logits.log_softmax(0)).logsumexp(1)


class CCU(nn.Module):
    """A classifier whose confidence is bounded far away.

    Args:
        base: the classifier, from x to (N, M) logits.
        inside: the mixture of the training data.
        outside: the mixture of all else.
        ratio: lambda, how likely what is outside is beside what is inside.

    Shape:
        - x: what the base takes; flattened, (N, D).
        - Output: (N, M) log probabilities.

    Example:
        >>> metric = Metric(torch.eye(2))
        >>> inside = Mixture(torch.zeros(1, 2), torch.ones(1), torch.ones(1), metric)
        >>> outside = Mixture(torch.zeros(1, 2), 4 * torch.ones(1), torch.ones(1), metric)
        >>> model = CCU(nn.Linear(2, 4), inside, outside)
        >>> model(torch.tensor([[1000.0, 0.0]])).exp().detach()
        tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """

    def __init__(
        self, base: nn.Module, inside: Mixture, outside: Mixture, *, ratio: float = 1.0
    ) -> None:
        super().__init__()
        self.base, self.inside, self.outside = base, inside, outside
        self.log_ratio = math.log(positive("ratio", ratio))

    def forward(self, x: Tensor) -> Tensor:
        """The log probabilities of the classes."""
        logits = self.base(x)
        _, classes = sizes("logits", logits, "N M")
        flat = x.flatten(1)
        # By their difference: the densities themselves are so small that digits would be lost.
        more = self.inside.log_density(flat) - self.outside.log_density(flat) - self.log_ratio
        inside, outside = (nn.functional.logsigmoid(one)[:, None] for one in (more, -more))
        return torch.logaddexp(logits.log_softmax(1) + inside, outside - math.log(classes))

    @torch.no_grad()
    def certificate(self, x: Tensor, radius: Tensor, classes: int) -> Tensor:
        """An upper bound of the confidence on balls of the metric.

        It holds for any base with so many classes, whatever it computes.

        Args:
            x: (N, ...): the middles.
            radius: (N,): in units of the metric, from 0.
            classes: M.

        Returns:
            (N,): from 1 / M to 1.

        Example:
            >>> metric = Metric(torch.eye(1))
            >>> inside = Mixture(torch.zeros(1, 1), torch.ones(1), torch.ones(1), metric)
            >>> outside = Mixture(torch.zeros(1, 1), 9 * torch.ones(1), torch.ones(1), metric)
            >>> model = CCU(nn.Linear(1, 2), inside, outside)
            >>> model.certificate(torch.tensor([[0.0], [50.0]]), torch.ones(2), classes=2)
            tensor([0.9503, 0.5000])
        """
        (n,) = sizes("radius", radius, "N")
        flat = x.flatten(1)
        sizes("x", flat, "N D", N=n)
        most_in = self.inside.log_bounds(flat, radius)[1]
        least_out = self.outside.log_bounds(flat, radius)[0] + self.log_ratio
        return (1 + (classes - 1) * (most_in - least_out).sigmoid()) / classes

    def is_uniform_far_away(self) -> bool:
        """True if some outside component is wider than every inside one."""
        return bool(self.outside.log_sigma.max() > self.inside.log_sigma.max())


def ccu_loss(log_p_in: Tensor, labels: Tensor, log_p_out: Tensor, *, ratio: float = 1.0) -> Tensor:
    """Right on what is inside, uniform on what is outside.

    Args:
        log_p_in: (N, M): log probabilities of training data.
        labels: (N,): their classes.
        log_p_out: (K, M): log probabilities of noise, or other data.
        ratio: lambda.

    Returns:
        A scalar.

    Example:
        >>> uniform = torch.full((1, 2), 0.5).log()
        >>> ccu_loss(uniform, torch.tensor([0]), uniform)  # 2 log 2
        tensor(1.3863)
    """
    _, classes = sizes("log_p_in", log_p_in, "N M")
    sizes("log_p_out", log_p_out, "K M", M=classes)
    return nn.functional.nll_loss(log_p_in, labels) - ratio * log_p_out.mean()
