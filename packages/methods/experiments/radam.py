"""RAdam, Adam with and without warm-up, and the paper's controls, over learning rates."""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from typing import Any

import torch
from common import Experiment, Row, Rows, Verdict, main, pick
from text import read_text
from torch import Tensor, nn

from iclr2020.optimization.radam import Adam2k, adam_eps, warmup

Make = Callable[[Any, float, int], tuple[torch.optim.Optimizer, Any]]
BETAS = (0.9, 0.999)
NEAR = 0.2  # nats a character from the best of all


def _adam_with_warmup(parameters: Any, lr: float, steps: int) -> tuple[torch.optim.Optimizer, Any]:
    optimizer = torch.optim.Adam(parameters, lr=lr, betas=BETAS)
    return optimizer, warmup(optimizer, max(1, steps // 10))


OPTIMIZERS: dict[str, Make] = {
    "Adam": lambda p, lr, n: (torch.optim.Adam(p, lr=lr, betas=BETAS), None),
    "Adam, warm-up": _adam_with_warmup,
    "RAdam": lambda p, lr, n: (torch.optim.RAdam(p, lr=lr, betas=BETAS), None),
    "Adam that waits": lambda p, lr, n: (
        Adam2k(p, lr=lr, betas=BETAS, wait=max(1, n // 10)), None,
    ),
    "Adam, eps 1e-4": lambda p, lr, n: (adam_eps(p, lr, betas=BETAS), None),
}  # fmt: skip


class Transformer(nn.Module):
    """Next-character logits by post-norm layers, which want a warm-up."""

    def __init__(self, characters: int, width: int, layers: int, length: int) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(characters, width), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.out = nn.Linear(width, characters)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time) to (batch, time, characters)."""
        length = x.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, x.device)
        places = torch.arange(length, device=x.device)
        return self.out(self.body(self.embed(x) + self.place(places), mask, is_causal=True))


def run(arguments: Namespace) -> Iterator[Row]:
    """Train the same model on the same batches with each; the loss at the end."""
    text = read_text(arguments.data)
    for name, make in OPTIMIZERS.items():
        torch.manual_seed(arguments.seed)
        shape = len(text.alphabet), arguments.width, arguments.layers, arguments.length
        model = Transformer(*shape).to(arguments.device)
        optimizer, schedule = make(model.parameters(), arguments.lr, arguments.steps)
        losses = []
        for _ in range(arguments.steps):
            x, y = text.batch(arguments.batch, arguments.length, arguments.device)
            loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            losses.append(loss.item())
        last = losses[-max(1, len(losses) // 10) :]
        end = sum(last) / len(last)
        yield {
            "optimizer": name, "lr": f"{arguments.lr:g}",
            "loss": end if math.isfinite(end) else None,
        }  # fmt: skip


def judge(rows: Rows) -> Verdict:
    """With how many of the learning rates does each get near the best of all, by name?

    Not by the rates themselves: the rectification makes RAdam's steps shorter throughout a short
    run, so that its best rate is a larger one.
    """
    rates = sorted({row["lr"] for row in rows}, key=float)
    losses = {name: [loss(rows, name, rate) for rate in rates] for name in OPTIMIZERS}
    near = min(map(min, losses.values())) + NEAR
    good = {name: [r for r, value in zip(rates, found, strict=True) if value < near]
            for name, found in losses.items()}  # fmt: skip
    why = f"learning rates, of {len(rates)}, with a loss below {near:.2f}: " + "; ".join(
        f"{name} {len(good[name])} ({', '.join(good[name]) or 'none'})" for name in OPTIMIZERS
    )
    held = [len(good[name]) > len(good["Adam"]) for name in ("RAdam", "Adam, warm-up")]
    if all(held):
        return Verdict("reproduced", why)
    return Verdict("partly" if any(held) else "not at this scale", why)


def loss(rows: Rows, name: str, rate: str) -> float:
    """The mean over seeds; infinite if it diverged with one of them."""
    found = [row["loss"] for row in pick(rows, optimizer=name, lr=rate)]
    return math.inf if None in found else sum(found) / len(found)


def options(parser: ArgumentParser) -> None:
    """How much of it."""
    add = parser.add_argument
    add("--data", default="shakespeare", help="shakespeare, or pydoc: Python's own manual")
    add("--lr", type=float, default=0.003, help="learning rate (default: 0.003)")
    add("--steps", type=int, default=1500, help="of training (default: 1500)")
    add("--width", type=int, default=64, help="of the transformer (default: 64)")
    add("--layers", type=int, default=3, help="of the transformer (default: 3)")
    add("--batch", type=int, default=16, help="sequences in a batch (default: 16)")
    add("--length", type=int, default=32, help="characters of each (default: 32)")


EXPERIMENT = Experiment(
    name="radam",
    method="RAdam (`iclr2020.optimization.radam`)",
    claim="RAdam is less sensitive to the learning rate than Adam, as Adam with a warm-up is, "
    "without having one.",
    data="characters of Shakespeare's plays",
    setting="a post-norm transformer of 3 layers and width 64, 1,500 steps, the same batches; "
    "warm-up and waiting take the first tenth of the steps; the loss is the mean of the last "
    "tenth",
    sweep={"seed": range(3), "lr": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)},
    options=options,
    run=run,
    by=("lr", "optimizer"),
    metrics={"loss": ".3f"},
    judge=judge,
    quick=("--data", "pydoc", "--steps", "3", "--layers", "1"),
    data_sets=("shakespeare",),
)

if __name__ == "__main__":
    main(EXPERIMENT)
