"""CCU beside a plain classifier: accuracy, confidence far away, and what is certified."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

import torch
from common import Experiment, Row, Rows, Verdict, main, mean
from torch import Tensor, nn

from iclr2020 import data
from iclr2020.uncertainty.ccu import CCU, Metric, Mixture, ccu_loss

CLASSES = 10


def network(channels: int) -> nn.Module:
    """A small convolutional network."""
    return nn.Sequential(
        nn.Conv2d(1, channels, 5, stride=2, padding=2), nn.ReLU(),
        nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
        nn.LazyLinear(64), nn.ReLU(), nn.Linear(64, CLASSES),
    )  # fmt: skip


def noise_like(x: Tensor) -> Tensor:
    """Half of it uniform, half of it the pixels of images in a drawn order."""
    uniform = torch.rand_like(x[::2])
    flat = x[1::2].flatten(1)
    order = torch.rand_like(flat).argsort(1)
    return torch.cat([uniform, flat.gather(1, order).view_as(x[1::2])])


def mixtures(x: Tensor, arguments: Namespace) -> tuple[Mixture, Mixture]:
    """Of the data, and of noise; the outer one has a component that is wider than all."""
    flat, noise = x.flatten(1), noise_like(x).flatten(1)
    metric = Metric.whitening(flat)
    inside = Mixture.fit(flat, arguments.components, metric, seed=arguments.seed)
    outside = Mixture.fit(noise, 5, metric, seed=arguments.seed)
    with torch.no_grad():
        outside.log_sigma.data[0] = max(outside.log_sigma.max(), inside.log_sigma.max()) + 1
    return inside, outside


def fit(model: nn.Module, x: Tensor, labels: Tensor, arguments: Namespace) -> None:
    """The base of a CCU, or a plain network; the mixtures stay as they were fitted."""
    base = model.base if isinstance(model, CCU) else model
    assert isinstance(base, nn.Module)
    optimizer = torch.optim.Adam(base.parameters(), lr=arguments.lr)
    for _ in range(arguments.epochs):
        for batch in torch.randperm(len(x), device=x.device).split(64):
            optimizer.zero_grad()
            if isinstance(model, CCU):
                noise = noise_like(x[batch])
                loss = ccu_loss(model(x[batch]), labels[batch], model(noise))
            else:
                loss = nn.functional.cross_entropy(model(x[batch]), labels[batch])
            loss.backward()
            optimizer.step()


@torch.no_grad()
def confidence(model: nn.Module, x: Tensor) -> Tensor:
    """The largest probability of each."""
    logits = torch.cat([model(part) for part in x.split(500)])
    return logits.log_softmax(1).exp().amax(1)


def run(arguments: Namespace) -> Iterator[Row]:
    """Train both from the same weights."""
    from sklearn.metrics import roc_auc_score

    images = data.digits() if arguments.data == "digits" else data.mnist_5k()
    order = torch.randperm(len(images.labels))
    x = images.images[order, None].float().to(arguments.device)
    x, labels = x / x.max(), images.labels[order].to(arguments.device)
    cut = len(x) * 7 // 10
    train, test = x[:cut], x[cut:]
    side = x.shape[-1]
    far = 20 * torch.rand(1000, 1, side, side, device=x.device) - 10
    others = {"far noise": far, "uniform noise": torch.rand_like(far)}
    if arguments.data == "digits":
        others["other images"] = test.flip(2)
    else:
        animals = data.animals().images[:2000, None].float().to(arguments.device) / 255
        others["other images"] = animals
    for name in ("plain", "CCU"):
        torch.manual_seed(arguments.seed)
        base = network(arguments.channels).to(x.device)
        base(x[:2])
        model: nn.Module = CCU(base, *mixtures(train, arguments)) if name == "CCU" else base
        fit(model, train, labels[:cut], arguments)
        with torch.no_grad():
            hits = (model(test).argmax(1) == labels[cut:]).float().mean().item()
        inside = confidence(model, test)
        row: Row = {"model": name, "accuracy": hits}
        for other, samples in others.items():
            outside = confidence(model, samples)
            truth = [1] * len(inside) + [0] * len(outside)
            row[f"confidence, {other}"] = outside.mean().item()
            row[f"auroc, {other}"] = float(
                roc_auc_score(truth, torch.cat([inside, outside]).cpu())
            )
        if isinstance(model, CCU):
            row |= _certified(model, others["uniform noise"])
        yield row


def _certified(model: CCU, noise: Tensor) -> Row:
    """The largest radius, as a share of the distance to the data, that keeps it near 1 / M."""
    with torch.no_grad():
        nearest = model.inside.metric(noise.flatten(1), model.inside.means).amin(1)
        shares = torch.linspace(0, 1, 51)
        kept = [
            share.item() for share in shares
            if model.certificate(noise, share.to(nearest) * nearest, CLASSES).mean() < 0.11
        ]  # fmt: skip
        attacked = 0.0
        radius = (max(kept) if kept else 0.0) * nearest
        bound = model.certificate(noise, radius, CLASSES)
        inverse = torch.linalg.inv(model.inside.metric.matrix)
        for _ in range(20):
            step = torch.randn_like(noise.flatten(1))
            step = step / step.norm(dim=1, keepdim=True) * radius[:, None] @ inverse.T
            found = confidence(model, noise + step.view_as(noise))
            attacked = max(attacked, float((found - bound).max()))
    return {"certified share": max(kept) if kept else 0.0, "over the bound": attacked}


def judge(rows: Rows) -> Verdict:
    """As accurate, nearly uniform far away, and within the certificate."""
    found = {
        (model, what): mean(rows, what, model=model)
        for model in ("plain", "CCU")
        for what in ("accuracy", "confidence, far noise", "confidence, uniform noise")
    }
    over = max(row["over the bound"] for row in rows if row["model"] == "CCU")
    share = mean(rows, "certified share", model="CCU")
    why = (
        f"accuracy {found['CCU', 'accuracy']:.3f} against {found['plain', 'accuracy']:.3f}; "
        f"confidence on noise in [-10, 10] {found['CCU', 'confidence, far noise']:.3f} against "
        f"{found['plain', 'confidence, far noise']:.3f}; certified below 0.11 on balls around "
        f"uniform noise up to {share:.2f} of the distance to the data, which a random search "
        f"{'never exceeded' if over <= 1e-4 else f'exceeded by {over:.3f}'}"
    )
    accurate = found["CCU", "accuracy"] > found["plain", "accuracy"] - 0.01
    uniform = found["CCU", "confidence, far noise"] < 0.15
    holds = over <= 1e-4 and share > 0
    if accurate and uniform and holds:
        return Verdict("reproduced", why)
    return Verdict("partly" if uniform and holds else "not at this scale", why)


def options(parser: ArgumentParser) -> None:
    """How much of it."""
    add = parser.add_argument
    add("--data", default="mnist_5k", choices=("mnist_5k", "digits"), help="which")
    add("--epochs", type=int, default=6, help="of training (default: 6)")
    add("--channels", type=int, default=8, help="of the first convolution (default: 8)")
    add("--components", type=int, default=30, help="of the mixture of the data (default: 30)")
    add("--lr", type=float, default=0.002, help="of Adam (default: 0.002)")


EXPERIMENT = Experiment(
    name="ccu",
    method="CCU (`iclr2020.uncertainty.ccu`)",
    claim="A CCU is as accurate as the plain network, and provably close to uniform far away from "
    "the data, where the plain one is confident.",
    data="MNIST's 5,000 digits, 3,500 for training; noise, and silhouettes of animals (other "
    "images), none of which is used in training",
    setting="a small convolutional network, 6 epochs of Adam; mixtures of 30 and 5 components in "
    "a whitened space, fitted before and kept",
    sweep={"seed": range(3)},
    options=options,
    run=run,
    by=("model",),
    metrics={
        "accuracy": ".4f",
        **{
            f"{what}, {other}": ".3f"
            for other in ("far noise", "uniform noise", "other images")
            for what in ("confidence", "auroc")
        },
        "certified share": ".2f",
        "over the bound": ".4f",
    },
    judge=judge,
    quick=("--data", "digits", "--epochs", "1", "--components", "3"),
    data_sets=("mnist_5k", "animals"),
)

if __name__ == "__main__":
    main(EXPERIMENT)
