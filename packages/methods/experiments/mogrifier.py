"""Mogrifier LSTM beside an LSTM with as many parameters: bits per character of plays."""

from __future__ import annotations

import math
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

import torch
from common import Experiment, Row, Rows, Verdict, by_seed, main, mean
from text import Text, cut, read_text
from torch import Tensor, nn

from iclr2020.sequence.mogrifier import MogrifierLSTM


class Model(nn.Module):
    """Next-character logits."""

    def __init__(self, characters: int, body: nn.Module, width: int, hidden: int) -> None:
        super().__init__()
        self.embed, self.body = nn.Embedding(characters, width), body
        self.out = nn.Linear(hidden, characters)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, time) to (batch, time, characters)."""
        return self.out(self.body(self.embed(x))[0])


def size(model: nn.Module) -> int:
    """How many parameters."""
    return sum(p.numel() for p in model.parameters())


def models(characters: int, arguments: Namespace) -> Iterator[tuple[str, Model]]:
    """The LSTM, the Mogrifier, and an LSTM that is as large as the Mogrifier."""
    width, hidden = arguments.width, arguments.hidden

    def lstm(size: int) -> Model:
        return Model(characters, nn.LSTM(width, size, batch_first=True), width, size)

    body = MogrifierLSTM(width, hidden, rounds=arguments.rounds, batch_first=True)
    ours = Model(characters, body, width, hidden)
    wide = hidden
    while size(lstm(wide)) < size(ours):
        wide += 1
    yield "LSTM", lstm(hidden)
    yield "LSTM, as many parameters", lstm(wide)
    yield f"Mogrifier, {arguments.rounds} rounds", ours


def fit(model: nn.Module, text: Text, arguments: Namespace) -> float:
    """Train it; returns the seconds it took."""
    optimizer = torch.optim.Adam(model.parameters(), lr=arguments.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, arguments.steps)
    began_s = time.perf_counter()
    for _ in range(arguments.steps):
        x, y = text.batch(arguments.batch, arguments.length, arguments.device)
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return time.perf_counter() - began_s


@torch.no_grad()
def bits(model: nn.Module, text: Text, arguments: Namespace) -> float:
    """Per character of what was held out, without the first half of each sequence."""
    length = 2 * arguments.length
    starts = torch.linspace(0, len(text.held_out) - length - 1, 256).long()
    x, y = cut(text.held_out, starts, length, arguments.device)
    half = length // 2
    logits, wanted = model(x)[:, half:].flatten(0, 1), y[:, half:].flatten()
    return nn.functional.cross_entropy(logits, wanted).item() / math.log(2)


def run(arguments: Namespace) -> Iterator[Row]:
    """The same batches for all."""
    text = read_text(arguments.data)
    torch.manual_seed(arguments.seed)
    for name, model in models(len(text.alphabet), arguments):
        torch.manual_seed(arguments.seed)
        model.to(arguments.device)
        seconds = fit(model, text, arguments)
        yield {
            "model": name, "bits": bits(model, text, arguments), "parameters": size(model),
            "seconds": seconds,
        }  # fmt: skip


def judge(rows: Rows) -> Verdict:
    """Fewer bits than the LSTM that is as large, by more than the seeds' noise."""
    names = {row["model"] for row in rows}
    ours_name = next(name for name in names if name.startswith("Mogrifier"))
    ours = by_seed(rows, "bits", model=ours_name)
    matched = by_seed(rows, "bits", model="LSTM, as many parameters")
    differences = torch.tensor([matched[seed] - ours[seed] for seed in ours])
    error = float(differences.std()) / len(differences) ** 0.5
    gain = float(differences.mean())
    small = mean(rows, "bits", model="LSTM")
    slower = mean(rows, "seconds", model=ours_name) / mean(
        rows, "seconds", model="LSTM, as many parameters"
    )
    why = (
        f"{sum(ours.values()) / len(ours):.3f} bits against "
        f"{sum(matched.values()) / len(ours):.3f} of an LSTM with as many parameters "
        f"({gain:+.3f} ± {error:.3f}) and {small:.3f} of one with as many hidden units; "
        f"training took {slower:.1f} times as long"
    )
    if gain > 2 * error:
        return Verdict("reproduced", why)
    return Verdict(
        "partly" if sum(ours.values()) / len(ours) < small else "not at this scale", why
    )


def options(parser: ArgumentParser) -> None:
    """How much of it."""
    add = parser.add_argument
    add("--data", default="shakespeare", help="shakespeare, or pydoc: Python's own manual")
    add("--hidden", type=int, default=96, help="units of the Mogrifier (default: 96)")
    add("--width", type=int, default=48, help="of the embedding (default: 48)")
    add("--rounds", type=int, default=5, help="of the Mogrifier (default: 5)")
    add("--steps", type=int, default=400, help="of training (default: 400)")
    add("--batch", type=int, default=32, help="sequences in a batch (default: 32)")
    add("--length", type=int, default=48, help="characters of each (default: 48)")
    add("--lr", type=float, default=0.005, help="of Adam at first (default: 0.005)")


EXPERIMENT = Experiment(
    name="mogrifier",
    method="Mogrifier LSTM (`iclr2020.sequence.mogrifier`)",
    claim="Rounds of mutual gating before each step improve an LSTM as a language model.",
    data="characters of Shakespeare's plays; the last tenth is held out",
    setting="one layer, 96 units for the Mogrifier with 5 rounds, and an LSTM wide enough to have "
    "as many parameters; 400 steps of Adam on 32 sequences of 48 characters, the same for all",
    sweep={"seed": range(3)},
    options=options,
    run=run,
    by=("model",),
    metrics={"bits": ".3f", "parameters": ".0f", "seconds": ".0f"},
    judge=judge,
    quick=("--data", "pydoc", "--steps", "2", "--batch", "4"),
    data_sets=("shakespeare",),
)

if __name__ == "__main__":
    main(EXPERIMENT)
