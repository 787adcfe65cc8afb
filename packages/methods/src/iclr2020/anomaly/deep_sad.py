r"""Deep SAD: semi-supervised anomaly detection by the distance to a centre, in a learned space.

A network without biases maps what is normal close to a fixed centre. A few labelled examples help:
normal ones are drawn in like the unlabelled ones, and anomalies are pushed away by the inverse of
their distance. Without labels it is Deep SVDD.

.. math::
    L = \frac{1}{n + m} \Big[ \sum_{i=1}^n d_i
        + \eta \sum_{j=1}^m (\tilde d_j + \epsilon)^{\tilde y_j} \Big]
        + \frac{\lambda}{2} \sum_l \|W^l\|_F^2, \qquad d = \|\phi(x) - c\|^2

over n unlabelled examples and m labelled ones with :math:`\tilde y = +1` for normal and -1 for
anomalous; the last term is the optimizer's weight decay. The score of an example is d.

Traps: with biases, or a bounded activation, the network can map all to the centre
(`check_encoder`); the same goes for a centre with a coordinate of 0 (`centre_of` moves those).
The second sum is over the labelled examples, and n counts the unlabelled ones.

References:
    | Deep Semi-Supervised Anomaly Detection (Ruff et al., 2020)
      | https://arxiv.org/abs/1906.02694
    | Deep One-Class Classification (Ruff et al., 2018)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from iclr2020.checks import positive, sizes
from iclr2020.citation import Reference

_RUFF = ("Ruff, Lukas", "Vandermeulen, Robert A.", 'G{\\"o}rnitz, Nico')
REFERENCES = (
    Reference(
        key="ruff2020deepsad",
        title="Deep Semi-Supervised Anomaly Detection",
        authors=(
            *_RUFF,
            "Binder, Alexander",
            'M{\\"u}ller, Emmanuel',
            'M{\\"u}ller, Klaus-Robert',
            "Kloft, Marius",
        ),
        year=2020,
        arxiv="1906.02694",
    ),
)

_EPSILON = 1e-6
_LEAST = 0.1  #: a coordinate of the centre is at least so far from 0

#: With these a network can be constant, or can't reach far away.
_BOUNDED = (nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.ReLU6, nn.Hardsigmoid, nn.Softmax, nn.Softsign)


def squared_distance(z: Tensor, centre: Tensor) -> Tensor:
    """d of each example.

    Args:
        z: (N, features).
        centre: (features,).

    Returns:
        (N,).

    Example:
        >>> squared_distance(torch.tensor([[3.0, 4.0]]), torch.zeros(2))
        tensor([25.])
    """
    _, features = sizes("z", z, "N features")
    sizes("centre", centre, "features", features=features)
    return (z - centre).square().sum(1)


def deep_sad_loss(distance: Tensor, labels: Tensor, *, eta: float = 1.0) -> Tensor:
    """The loss of a batch, without the weight decay.

    Args:
        distance: (N,): squared distances.
        labels: (N,): 0 unlabelled, 1 normal, -1 anomalous.
        eta: the weight of the labelled ones.

    Returns:
        A scalar: the mean over all N.

    Raises:
        ShapeError: the shapes don't go together.

    Example:
        >>> d = torch.tensor([1.0, 2.0, 4.0])
        >>> deep_sad_loss(d, torch.tensor([0, 1, -1]))  # (1 + 2 + 1/4) / 3
        tensor(1.0833)
    """
    (n,) = sizes("distance", distance, "N")
    sizes("labels", labels, "N", N=n)
    labelled = eta * (distance + _EPSILON) ** labels.to(distance.dtype)
    return torch.where(labels == 0, distance, labelled).mean()


def centre_of(z: Tensor) -> Tensor:
    """The mean, with every coordinate at least 0.1 away from 0.

    Args:
        z: (N, features): what the untrained network makes of the training set.

    Returns:
        (features,).

    Example:
        >>> centre_of(torch.tensor([[0.5, -0.02, 0.0]]))
        tensor([ 0.5000, -0.1000,  0.1000])
    """
    sizes("z", z, "N features")
    mean = z.detach().mean(0)
    side = torch.where(mean < 0, -1.0, 1.0).to(mean)
    return torch.where(mean.abs() < _LEAST, side * _LEAST, mean)


def check_encoder(encoder: nn.Module) -> None:
    """See that the network can't map everything to one point, whatever it is given.

    Raises:
        ValueError: it has a bias, a normalization with parameters, or a bounded activation; says
            which.

    Example:
        >>> check_encoder(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
        Traceback (most recent call last):
        ValueError: expected no bias, got 0.bias: ...
    """
    for name, _ in encoder.named_parameters():
        if name.rpartition(".")[2].startswith("bias"):
            raise ValueError(f"expected no bias, got {name}: all could be mapped to one point")
    for name, module in encoder.named_modules():
        if isinstance(module, (_NormBase, nn.GroupNorm, nn.LayerNorm)) and list(
            module.parameters()
        ):
            raise ValueError(f"expected normalization without parameters, got {name}: {module}")
        if isinstance(module, _BOUNDED):
            raise ValueError(f"expected unbounded activations, got {name}: {module}")


class DeepSAD(nn.Module):
    """A network and the centre that it maps what is normal to.

    Args:
        encoder: from examples to (N, features); without biases, see `check_encoder`.
        features: of the space of the centre.

    Shape:
        - x: whatever the encoder takes.
        - Output: (N,): squared distances, larger for what is more anomalous.

    Train it by `deep_sad_loss`, with weight decay in the optimizer, after `set_centre`.

    Raises:
        ValueError: the network could be constant.

    Example:
        >>> model = DeepSAD(nn.Linear(3, 2, bias=False), features=2)
        >>> x = torch.randn(10, 3)
        >>> model.set_centre(x)
        >>> deep_sad_loss(model(x), torch.zeros(10)).backward()
    """

    centre: Tensor

    def __init__(self, encoder: nn.Module, features: int) -> None:
        super().__init__()
        check_encoder(encoder)
        self.encoder = encoder
        self.register_buffer("centre", torch.full((positive("features", features),), _LEAST))

    @torch.no_grad()
    def set_centre(self, x: Tensor) -> None:
        """Take it from what the network makes of these examples now, in eval mode."""
        was_training = self.training
        self.eval()
        self.centre.copy_(centre_of(self.encoder(x)))
        self.train(was_training)

    def forward(self, x: Tensor) -> Tensor:
        """The scores."""
        return squared_distance(self.encoder(x), self.centre)


def dense_encoder(inputs: int, hidden: tuple[int, ...], features: int) -> nn.Sequential:
    """Linear layers without biases, leaky ReLU between.

    Example:
        >>> dense_encoder(3, (8,), 2)(torch.randn(5, 3)).shape
        torch.Size([5, 2])
    """
    layers: list[nn.Module] = []
    for before, after in zip((inputs, *hidden), (*hidden, features), strict=True):
        layers += [nn.Linear(before, after, bias=False), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers[:-1])
