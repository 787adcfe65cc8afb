r"""GIN: a flow that keeps volumes, so that class-conditional variances tell what is informative.

With couplings whose determinant is 1 a flow can't make the likelihood better by shrinking space:
dimensions that carry no information keep a small variance, and the spectrum of standard deviations
shows how many do. With latents that depend on a known u (a class), informative ones are recovered
up to order and a monotone map (nonlinear ICA).

.. math::
    s &= 2 \cdot 0.636 \arctan(\mathrm{net}_s(x_1)), \qquad s \leftarrow s - \bar s \\
    y_2 &= x_2 \odot e^{s} + \mathrm{net}_t(x_1), \qquad \log|\det J| = \textstyle\sum s = 0 \\
    z | u &\sim N(\mu(u), \mathrm{diag}\, \sigma^2(u)), \qquad
    L = \mathrm{mean}_{u, d}\, \log \sigma_d(u)

:math:`\mu(u)` and :math:`\sigma(u)` are those of the batch's examples of a class: with these the
Gaussian's negative log likelihood is its log deviation and a constant. Each class counts the same,
however many examples it has.

Assumptions: with n informative latents, at least 2n + 1 classes whose variances differ.

Trap: to set the last log-scale to minus the sum of the others, as in the paper, or to subtract
their mean, as here and in maintained code, is both volume-preserving.

References:
    | Disentanglement by Nonlinear ICA with General Incompressible-flow Networks (GIN)
      (Sorrenson et al., 2020) | https://arxiv.org/abs/2001.04872
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from iclr2020.checks import positive, sizes
from iclr2020.citation import Reference

REFERENCES = (
    Reference(
        key="sorrenson2020gin",
        title="Disentanglement by Nonlinear {ICA} with General Incompressible-flow Networks "
        "({GIN})",
        authors=("Sorrenson, Peter", "Rother, Carsten", 'K{\\"o}the, Ullrich'),
        year=2020,
        arxiv="2001.04872",
    ),
)

_CLAMP = 2.0
_ATAN = 0.636  #: about 2 / pi: so that the log-scales lie within +-_CLAMP


def volume_preserving(raw: Tensor) -> Tensor:
    """Log-scales from what a network says: bounded, and with a sum of 0.

    Args:
        raw: (..., d).

    Example:
        >>> volume_preserving(torch.tensor([1.0, -1.0]))
        tensor([ 0.9990, -0.9990])
    """
    s = _CLAMP * _ATAN * raw.atan()
    return s - s.mean(-1, keepdim=True)


class GINCoupling(nn.Module):
    """Both halves in turn, each by the other.

    Args:
        features: D, at least 2.
        width: of the two hidden layers.

    Shape:
        - x: (N, features).
        - Output: (N, features).

    Example:
        >>> layer, x = GINCoupling(4), torch.randn(3, 4)
        >>> torch.allclose(layer.inverse(layer(x)), x, atol=1e-5)
        True
    """

    def __init__(self, features: int, width: int = 64) -> None:
        super().__init__()
        if positive("features", features) < 2:
            raise ValueError(f"features: expected at least 2, got {features}")
        self.features, self.split_at = features, features // 2
        rest = features - self.split_at
        self.first = _subnet(rest, self.split_at, positive("width", width))
        self.second = _subnet(self.split_at, rest, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """So that it begins as the identity."""
        for net in (self.first, self.second):
            for layer in net:
                if isinstance(layer, nn.Linear):
                    layer.reset_parameters()
            last = net[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """From data to latents."""
        sizes("x", x, "N features", features=self.features)
        left, right = x[:, : self.split_at], x[:, self.split_at :]
        s, t = self._of(self.first, right)
        left = left * s.exp() + t
        s, t = self._of(self.second, left)
        return torch.cat([left, right * s.exp() + t], 1)

    def inverse(self, y: Tensor) -> Tensor:
        """From latents to data."""
        sizes("y", y, "N features", features=self.features)
        left, right = y[:, : self.split_at], y[:, self.split_at :]
        s, t = self._of(self.second, left)
        right = (right - t) * (-s).exp()
        s, t = self._of(self.first, right)
        return torch.cat([(left - t) * (-s).exp(), right], 1)

    @staticmethod
    def _of(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        raw, t = net(x).chunk(2, -1)
        return volume_preserving(raw), t


class GIN(nn.Module):
    """Couplings with permutations between, all drawn once.

    Args:
        features: D, at least 2.
        layers: couplings.
        width: of their hidden layers.

    Shape:
        - x: (N, features).
        - Output: (N, features). The log determinant is 0.

    Example:
        >>> flow, x = GIN(4, layers=3), torch.randn(3, 4)
        >>> torch.allclose(flow.inverse(flow(x)), x, atol=1e-5)
        True
    """

    orders: Tensor

    def __init__(self, features: int, layers: int = 8, width: int = 64) -> None:
        super().__init__()
        count = positive("layers", layers)
        self.couplings = nn.ModuleList(GINCoupling(features, width) for _ in range(count))
        orders = torch.stack([torch.randperm(features) for _ in range(count)])
        self.register_buffer("orders", orders)

    def reset_parameters(self) -> None:
        """Those of the couplings; the permutations stay."""
        for coupling in self.couplings:
            coupling.reset_parameters()  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        """From data to latents."""
        sizes("x", x, "N features", features=self.orders.shape[1])
        for order, coupling in zip(self.orders, self.couplings, strict=True):
            x = coupling(x[:, order])
        return x

    def inverse(self, z: Tensor) -> Tensor:
        """From latents to data."""
        sizes("z", z, "N features", features=self.orders.shape[1])
        for order, coupling in zip(self.orders.flip(0), reversed(self.couplings), strict=True):
            z = coupling.inverse(z)[:, order.argsort()]  # type: ignore[operator]
        return z


def class_deviations(z: Tensor, u: Tensor, classes: int, *, least: float = 1e-6) -> Tensor:
    """The standard deviation of each latent within each class.

    Args:
        z: (N, D).
        u: (N,): classes, from 0.
        classes: how many there are.
        least: what a variance is at least.

    Returns:
        (classes, D); 1 for a class of which there are fewer than two.

    Example:
        >>> z = torch.tensor([[0.0], [2.0], [5.0]])
        >>> class_deviations(z, torch.tensor([0, 0, 1]), 2)
        tensor([[1.],
                [1.]])
    """
    n, _ = sizes("z", z, "N D")
    sizes("u", u, "N", N=n)
    member = nn.functional.one_hot(u, classes).to(z.dtype)  # (N, classes)
    count = member.sum(0)[:, None]
    mean = member.T @ z / count.clamp(min=1)
    centred = z - mean[u]
    variance = member.T @ centred.square() / count.clamp(min=1)
    return torch.where(count > 1, variance.clamp(min=least), 1.0).sqrt()


def gin_loss(z: Tensor, u: Tensor, classes: int) -> Tensor:
    """The mean log standard deviation over the classes that are there, and the latents.

    Args:
        z: (N, D): what the flow makes of a batch.
        u: (N,): classes.
        classes: how many there are.

    Raises:
        ValueError: no class has two examples.

    Example:
        >>> gin_loss(torch.tensor([[0.0], [2.0]]), torch.tensor([0, 0]), 1)
        tensor(0.)
    """
    deviations = class_deviations(z, u, classes)
    there = torch.bincount(u, minlength=classes) > 1
    if not there.any():
        raise ValueError(f"u: expected a class with at least 2 examples, got {len(u)} of 1 each")
    return deviations[there].log().mean()


def spectrum(z: Tensor) -> tuple[Tensor, Tensor]:
    """The standard deviations of the latents over all data, largest first, and which they are.

    Args:
        z: (N, D).

    Returns:
        (D,) and (D,) int64.

    Example:
        >>> spectrum(torch.tensor([[0.0, 0.0], [1.0, 4.0]]))
        (tensor([2.8284, 0.7071]), tensor([1, 0]))
    """
    sizes("z", z, "N D")
    values, order = z.std(0).sort(descending=True)
    return values, order


def _subnet(inputs: int, outputs: int, width: int) -> nn.Sequential:
    """Twice the outputs: scales and shifts."""
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, 2 * outputs),
    )  # fmt: skip
