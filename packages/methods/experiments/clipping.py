"""Clipping: steps on a quartic; how smoothness goes with the gradient in training an LSTM."""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from common import Experiment, Row, Rows, Verdict, by_seed, main, mean, pick
from text import Text, read_text
from torch import Tensor, nn

from iclr2020.optimization.clipping import ClippedGD, Smoothness, fit, watch

LEARNED = 3.0  # nats a character: a run above that has diverged or not begun to learn


def quartic_steps(lr: float, clip: float, start: float, limit: int) -> int:
    """Steps of clipped gradient descent on x^4 until the gradient is below 1e-4.

    In plain numbers, as it takes many; the tests hold `ClippedGD` to them.
    """
    x = start
    for step in range(limit):
        gradient = 4 * x**3
        if abs(gradient) < 1e-4:
            return step
        x -= lr * min(1.0, clip / abs(gradient)) * gradient
    return limit


def quartic(arguments: Namespace) -> Iterator[Row]:
    """Plain descent with 1 / (largest curvature on the way) as its step size."""
    start = 4.0 + 2.0 * torch.rand(1).item()
    plain = quartic_steps(1 / (12 * start**2), 1e9, start, arguments.quartic_limit)
    clipped = quartic_steps(0.05, 0.5, start, arguments.quartic_limit)
    yield {"what": "x^4, gradient descent", "lr": "1/L", "steps": plain}
    yield {"what": "x^4, clipped", "lr": "0.05", "steps": clipped}


class CharLSTM(nn.Module):
    """Next-character logits."""

    def __init__(self, characters: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(characters, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.out = nn.Linear(width, characters)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time) to (batch, time, characters)."""
        return self.out(self.lstm(self.embed(x))[0])


def lstm(arguments: Namespace, optimizer_name: str) -> Iterator[Row]:
    """Train with SGD, with or without clipping, and watch some of the steps."""
    text = read_text(arguments.data)
    model = CharLSTM(len(text.alphabet), arguments.width).to(arguments.device)
    optimizer: Any = (
        ClippedGD(model.parameters(), lr=arguments.lr, clip=arguments.clip)
        if optimizer_name == "clipped"
        else torch.optim.SGD(model.parameters(), lr=arguments.lr)
    )
    seen, losses = _train(model, optimizer, text, arguments)
    found = fit(seen)
    yield {
        "what": f"LSTM, {optimizer_name}",
        "lr": f"{arguments.lr:g}",
        "steps": arguments.steps,
        "loss": sum(losses[-20:]) / len(losses[-20:]),
        "log_correlation": found.log_correlation,
        "l0": found.l0,
        "l1": found.l1,
    }
    for one in seen:
        where = {"what": f"point, {optimizer_name}", "lr": f"{arguments.lr:g}"}
        yield where | {"g": one.gradient_norm, "l": one.smoothness}


def _train(
    model: nn.Module, optimizer: Any, text: Text, arguments: Namespace
) -> tuple[list[Smoothness], list[float]]:
    seen: list[Smoothness] = []
    losses: list[float] = []
    for step in range(arguments.steps):
        x, y = text.batch(arguments.batch, arguments.length, arguments.device)

        def loss(x: Tensor = x, y: Tensor = y) -> Tensor:
            return nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())

        optimizer.zero_grad()
        value = loss()
        value.backward()
        losses.append(value.item())
        if step % arguments.watch_every == 0:
            with watch(loss, model.parameters(), seen):
                optimizer.step()
        else:
            optimizer.step()
    return seen, losses


def run(arguments: Namespace) -> Iterator[Row]:
    """Both parts."""
    yield from quartic(arguments)
    for name in ("SGD", "clipped"):
        torch.manual_seed(arguments.seed)  # the same model and batches for both
        yield from lstm(arguments, name)


def judge(rows: Rows) -> Verdict:
    """Fewer steps, smoothness that rises with the gradient, a lower loss with every seed."""
    slow = mean(rows, "steps", what="x^4, gradient descent")
    fast = mean(rows, "steps", what="x^4, clipped")
    found = pick(rows, what="LSTM, clipped")
    rises = [row["log_correlation"] for row in found if row["loss"] < LEARNED]
    if not rises:
        return Verdict("not at this scale", f"no LSTM got below a loss of {LEARNED}")
    loss = {name: best(rows, name) for name in ("SGD", "clipped")}
    means = {name: fmean(losses) for name, losses in loss.items()}
    why = (
        f"{slow:.0f} steps of gradient descent and {fast:.0f} clipped ones on x^4; the "
        f"correlation in the LSTM is {min(rises):.2f} to {max(rises):.2f}; its loss after the "
        f"same number of steps, each with its best learning rate, is {means['SGD']:.3f} and "
        f"{means['clipped']:.3f} with clipping"
    )
    lower = all(ours < plain for ours, plain in zip(loss["clipped"], loss["SGD"], strict=True))
    held = [slow > 5 * fast, min(rises) > 0, lower]
    if all(held):
        return Verdict("reproduced", why)
    return Verdict("partly" if any(held) else "not at this scale", why)


def best(rows: Rows, name: str) -> list[float]:
    """The loss of each seed, infinite if it diverged, with the best learning rate."""
    rates = {row["lr"] for row in pick(rows, what=f"LSTM, {name}")}
    losses = [by_seed(rows, "loss", what=f"LSTM, {name}", lr=rate).values() for rate in rates]
    return min(
        ([one if math.isfinite(one) else math.inf for one in some] for some in losses), key=fmean
    )


def figure(rows: Rows, path: Path) -> None:
    """Smoothness beside the norm of the gradient."""
    from matplotlib import pyplot

    drawing, axes = pyplot.subplots(figsize=(5, 3.5))
    points = pick(rows, what="point, clipped")
    axes.loglog([row["g"] for row in points], [row["l"] for row in points], ".", alpha=0.4)
    axes.set(xlabel="norm of the gradient", ylabel="local smoothness", title="LSTM, clipped")
    drawing.tight_layout()
    drawing.savefig(path, dpi=120)
    pyplot.close(drawing)


def options(parser: ArgumentParser) -> None:
    """How much of it."""
    add = parser.add_argument
    add("--data", default="shakespeare", help="shakespeare, or pydoc: Python's own manual")
    add("--quartic-limit", type=int, default=100_000, help="most steps on x^4 (default: 100000)")
    add("--steps", type=int, default=1200, help="of training the LSTM (default: 1200)")
    add("--watch-every", type=int, default=20, help="steps between looks (default: 20)")
    add("--width", type=int, default=64, help="of the LSTM (default: 64)")
    add("--batch", type=int, default=16, help="sequences in a batch (default: 16)")
    add("--length", type=int, default=32, help="characters of each (default: 32)")
    add("--lr", type=float, default=2.0, help="of SGD (default: 2)")
    add("--clip", type=float, default=0.25, help="longest gradient (default: 0.25)")


EXPERIMENT = Experiment(
    name="clipping",
    method="Gradient clipping (`iclr2020.optimization.clipping`)",
    claim="Local smoothness grows with the norm of the gradient as an LSTM is trained, and where "
    "it does, clipped gradient descent needs far fewer steps.",
    data="x^4 from a drawn start in [4, 6]; characters of Shakespeare's plays",
    setting="x^4: step size 1 / (largest curvature) against 0.05 clipped at 0.5, until the "
    "gradient is below 1e-4; LSTM of width 64, 1,200 steps of SGD with four learning rates, "
    "without and with clipping at 0.25, the same batches",
    sweep={"seed": range(3), "lr": (4, 8, 16, 32)},
    options=options,
    run=run,
    by=("what", "lr"),
    metrics={
        "steps": ".0f",
        "loss": ".3f",
        "log_correlation": ".2f",
        "l0": ".2f",
        "l1": ".2f",
    },
    judge=judge,
    quick=("--data", "pydoc", "--quartic-limit", "50", "--steps", "6", "--watch-every", "2"),
    figure=figure,
    data_sets=("shakespeare",),
)

if __name__ == "__main__":
    main(EXPERIMENT)
