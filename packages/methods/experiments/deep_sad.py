"""Deep SAD: how much a few labelled anomalies help, one digit against the rest."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

import torch
from common import Experiment, Row, Rows, Verdict, by_seed, main, mean
from torch import Tensor, nn

from iclr2020 import data
from iclr2020.anomaly.deep_sad import DeepSAD, deep_sad_loss

FEATURES = 32


def encoder(channels: int) -> nn.Module:
    """Two convolutions and a linear layer, all without biases."""

    def block(before: int, after: int) -> list[nn.Module]:
        return [
            nn.Conv2d(before, after, 5, padding=2, bias=False),
            nn.BatchNorm2d(after, affine=False), nn.LeakyReLU(0.1), nn.MaxPool2d(2),
        ]  # fmt: skip

    return nn.Sequential(
        *block(1, channels), *block(channels, channels // 2), nn.Flatten(),
        nn.LazyLinear(FEATURES, bias=False),
    )  # fmt: skip


def split(arguments: Namespace) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and test images and their digits; half each."""
    images = data.digits() if arguments.data == "digits" else data.mnist_5k()
    x = images.images[:, None].float().to(arguments.device)
    x, digits = x / x.max(), images.labels.to(arguments.device)
    order = torch.randperm(len(x), device=x.device)
    train, test = order.tensor_split(2)
    return x[train], digits[train], x[test], digits[test]


def semi_labels(digits: Tensor, normal: int, known: int, share: float) -> tuple[Tensor, Tensor]:
    """Which to train on: all of the normal digit, unlabelled, and so many known anomalies.

    Returns:
        Their numbers and labels; `share` is that of the anomalies among all.
    """
    unlabelled = (digits == normal).nonzero().flatten()
    wanted = round(share / (1 - share) * len(unlabelled))
    anomalies = (digits == known).nonzero().flatten()[:wanted]
    labels = torch.cat([torch.zeros(len(unlabelled)), -torch.ones(len(anomalies))])
    return torch.cat([unlabelled, anomalies]), labels.to(digits.device)


def fit(x: Tensor, labels: Tensor, arguments: Namespace) -> DeepSAD:
    """Adam with weight decay; the last third of the epochs with a tenth of the rate."""
    net = encoder(arguments.channels).to(x.device)
    net(x[:2])  # its last layer learns how wide the images are
    model = DeepSAD(net, FEATURES).to(x.device)
    model.set_centre(x[labels == 0])
    optimizer = torch.optim.Adam(model.parameters(), lr=arguments.lr, weight_decay=1e-6)
    milestones = [arguments.epochs * 2 // 3]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones)
    for _ in range(arguments.epochs):
        for batch in torch.randperm(len(x), device=x.device).split(64):
            optimizer.zero_grad()
            deep_sad_loss(model(x[batch]), labels[batch]).backward()
            optimizer.step()
        schedule.step()
    return model.eval()


def run(arguments: Namespace) -> Iterator[Row]:
    """Several digits in turn; the known anomaly is the next digit, the test has all nine."""
    from sklearn.metrics import roc_auc_score

    x, digits, test_x, test_digits = split(arguments)
    for share in (0.0, 0.01, 0.05, 0.1):
        scores = []
        for normal in range(0, 10, arguments.every):
            torch.manual_seed(1000 * arguments.seed + normal)  # the same network for all shares
            rows, labels = semi_labels(digits, normal, (normal + 1) % 10, share)
            model = fit(x[rows], labels, arguments)
            with torch.no_grad():
                distance = model(test_x).cpu()
            scores.append(float(roc_auc_score((test_digits != normal).cpu(), distance)))
        yield {"labelled anomalies": share, "auroc": sum(scores) / len(scores)}


def judge(rows: Rows) -> Verdict:
    """Does the AUROC grow with the share, for every seed from none to a tenth?"""
    shares = sorted({row["labelled anomalies"] for row in rows})
    found = {share: mean(rows, "auroc", **{"labelled anomalies": share}) for share in shares}
    none, most = (
        by_seed(rows, "auroc", **{"labelled anomalies": s}) for s in (shares[0], shares[-1])
    )
    why = "AUROC " + ", ".join(f"{found[share]:.3f} with {share:.0%}" for share in shares)
    values = list(found.values())
    if values == sorted(values) and all(most[seed] > none[seed] for seed in none):
        return Verdict("reproduced", why)
    return Verdict("partly" if values[-1] > values[0] else "not at this scale", why)


def options(parser: ArgumentParser) -> None:
    """How much of it."""
    add = parser.add_argument
    add("--data", default="mnist_5k", choices=("mnist_5k", "digits"), help="which")
    add("--epochs", type=int, default=15, help="of training (default: 15)")
    add("--channels", type=int, default=8, help="of the first convolution (default: 8)")
    add("--lr", type=float, default=0.001, help="of Adam (default: 0.001)")
    add("--every", type=int, default=2, help="every so many digits (default: 2)")


EXPERIMENT = Experiment(
    name="deep_sad",
    method="Deep SAD (`iclr2020.anomaly.deep_sad`)",
    claim="One against the rest, the AUROC grows with the share of labelled anomalies, although "
    "those are of one kind only; 0 % is Deep SVDD.",
    data="MNIST's 5,000 digits, half for training; 0, 2, 4, 6 and 8 are normal in turn, the next "
    "digit is the known anomaly, the test has all",
    setting="two convolutions of 8 and 4 channels to 32 features, 15 epochs of Adam, no "
    "pre-training; the same initial network for all shares",
    sweep={"seed": range(3)},
    options=options,
    run=run,
    by=("labelled anomalies",),
    metrics={"auroc": ".4f"},
    judge=judge,
    quick=("--data", "digits", "--epochs", "1", "--every", "9"),
    data_sets=("mnist_5k",),
)

if __name__ == "__main__":
    main(EXPERIMENT)
