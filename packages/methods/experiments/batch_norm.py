"""Batch normalization's four improvements on a small network, at several batch sizes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import NamedTuple

import torch
from common import Experiment, Row, Rows, Verdict, by_seed, main, mean
from torch import Tensor, nn

from iclr2020 import data
from iclr2020.normalization.batch_norm import GeneralBatchNorm, norm_decay

ALPHAS = (0.0, 0.001, 0.004, 0.01, 0.03, 0.1, 0.3, 1.0)
METHODS = ("batch norm", "and weighing", "ghost", "batch and group", "decay", "all")


class Split(NamedTuple):
    """Images from 0 to 1 and their classes."""

    x: Tensor
    labels: Tensor


def load(arguments: Namespace) -> tuple[Split, Split, Split]:
    """For training, for choosing learning rate and alpha, for testing."""
    images = {"mnist_5k": data.mnist_5k, "digits": data.digits, "fashion": data.fashion_mnist}[
        arguments.data
    ]()
    order = torch.randperm(len(images.labels))[: arguments.examples]
    x = images.images[order, None].float().to(arguments.device)
    x, labels = x / x.max(), images.labels[order].to(arguments.device)
    cuts = len(x) * 5 // 10, len(x) * 7 // 10
    parts = zip(x.tensor_split(cuts), labels.tensor_split(cuts), strict=True)
    train, validation, test = (Split(*one) for one in parts)
    return train, validation, test


def network(method: str, arguments: Namespace) -> nn.Sequential:
    """Three convolutions; the normalization is what differs."""
    small = max(2, arguments.batch // 4)
    options = {"ghost": {"examples": small}, "batch and group": {"channels": 4},
               "all": {"examples": small, "channels": 4}}  # fmt: skip
    width = arguments.width

    def block(before: int, after: int) -> list[nn.Module]:
        norm = GeneralBatchNorm(after, **options.get(method, {}))
        return [nn.Conv2d(before, after, 3, padding=1, bias=False), norm, nn.ReLU()]

    return nn.Sequential(
        *block(1, width), nn.MaxPool2d(2), *block(width, 2 * width), nn.MaxPool2d(2),
        *block(2 * width, 2 * width), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(2 * width, 10),
    ).to(arguments.device)  # fmt: skip


def fit(net: nn.Module, train: Split, lr: float, arguments: Namespace, *, decays: bool) -> None:
    """SGD with momentum and weight decay, which spares the normalizations."""
    norms = [p for m in net.modules() if isinstance(m, GeneralBatchNorm) for p in m.parameters()]
    spared = {id(p) for p in norms}
    others = [p for p in net.parameters() if id(p) not in spared]
    optimizer = torch.optim.SGD(
        [{"params": others, "weight_decay": arguments.decay}, {"params": norms}],
        lr=lr * arguments.batch / 128, momentum=0.9,
    )  # fmt: skip
    steps = arguments.epochs * (len(train.x) // arguments.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    for _ in range(arguments.epochs):
        for batch in torch.randperm(len(train.x), device=train.x.device).split(arguments.batch):
            if len(batch) < arguments.batch:
                continue
            loss = nn.functional.cross_entropy(net(train.x[batch]), train.labels[batch])
            if decays:
                loss = loss + arguments.decay * norm_decay(net)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


@torch.no_grad()
def accuracy(net: nn.Module, split: Split, alpha: float) -> float:
    """At inference, with that weight of the example's own statistics."""
    net.eval()
    for layer in net.modules():
        if isinstance(layer, GeneralBatchNorm):
            layer.alpha = alpha
    hits = [(net(x).argmax(1) == labels).float().sum() for x, labels in
            zip(split.x.split(512), split.labels.split(512), strict=True)]  # fmt: skip
    return (torch.stack(hits).sum() / len(split.x)).item()


def trained(method: str, lr: float, train: Split, arguments: Namespace) -> nn.Sequential:
    """A network; of the same seed they begin alike."""
    torch.manual_seed(arguments.seed)
    net = network(method, arguments)
    fit(net, train, lr, arguments, decays=method in ("decay", "all"))
    return net


def run(arguments: Namespace) -> Iterator[Row]:
    """Each by itself, and all together; what is chosen is chosen on the validation part."""
    train, validation, test = load(arguments)
    nets: dict[float, nn.Sequential] = {}
    for method in METHODS:
        if method != "and weighing":  # those are the networks before
            nets = {lr: trained(method, lr, train, arguments) for lr in arguments.lr}
        alphas = ALPHAS if method in ("and weighing", "all") else (0.0,)
        scores = {
            (lr, alpha): accuracy(net, validation, alpha)
            for lr, net in nets.items()
            for alpha in alphas
        }
        lr, alpha = max(scores, key=lambda pair: scores[pair])
        yield {
            "batch": arguments.batch, "normalization": method, "lr": lr, "alpha": alpha,
            "accuracy": accuracy(nets[lr], test, alpha),
        }  # fmt: skip


def judge(rows: Rows) -> Verdict:
    """All together above plain batch normalization by more than the seeds' noise."""
    gains, parts = [], []
    for batch in sorted({row["batch"] for row in rows}):
        plain = by_seed(rows, "accuracy", batch=batch, normalization="batch norm")
        ours = by_seed(rows, "accuracy", batch=batch, normalization="all")
        differences = torch.tensor([ours[seed] - plain[seed] for seed in plain])
        error = float(differences.std()) / len(differences) ** 0.5
        gains.append(float(differences.mean()) > 2 * error)
        parts.append(
            f"batch {batch}: {mean(rows, 'accuracy', batch=batch, normalization='all'):.3f} "
            f"against {sum(plain.values()) / len(plain):.3f} "
            f"({float(differences.mean()):+.4f} ± {error:.4f})"
        )
    why = "; ".join(parts)
    if all(gains):
        return Verdict("reproduced", why)
    return Verdict("partly" if any(gains) else "not at this scale", why)


def options(parser: ArgumentParser) -> None:
    """How much of it."""
    add = parser.add_argument
    add("--data", default="mnist_5k", choices=("mnist_5k", "digits", "fashion"), help="which")
    add("--examples", type=int, default=5000, help="in all three parts (default: 5000)")
    add("--batch", type=int, default=16, help="examples in a batch (default: 16)")
    add("--epochs", type=int, default=20, help="of training (default: 20)")
    add("--width", type=int, default=8, help="channels of the first layer (default: 8)")
    add("--lr", type=float, nargs="+", default=(0.4, 1.6), help="for a batch of 128; the best of "
        "them counts (default: 0.4 and 1.6)")  # fmt: skip
    add("--decay", type=float, default=5e-4, help="of weights (default: 0.0005)")


EXPERIMENT = Experiment(
    name="batch_norm",
    method="Batch normalization (`iclr2020.normalization.batch_norm`)",
    claim="Ghost batches, statistics over batch and groups, decay of gamma towards 1 and weighing "
    "the example's own statistics, taken together, improve on batch normalization.",
    data="2,500 of MNIST's digits for training, 1,000 to choose learning rate and alpha, 1,500 "
    "for testing",
    setting="three convolutions of 8 and 16 channels, 20 epochs of SGD with momentum, batches of "
    "8 and 64; ghost batches are a quarter of a batch; for each, learning rate (of two) and alpha "
    "(from 0 to 1) are the best on the validation part",
    sweep={"seed": range(5), "batch": (8, 64)},
    options=options,
    run=run,
    by=("batch", "normalization"),
    metrics={"accuracy": ".4f", "lr": ".2f", "alpha": ".3f"},
    judge=judge,
    quick=("--data", "digits", "--epochs", "1", "--examples", "200"),
    data_sets=("mnist_5k",),
)

if __name__ == "__main__":
    main(EXPERIMENT)
