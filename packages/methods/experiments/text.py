"""Characters to learn to predict: plays, or what every Python brings along."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Text(NamedTuple):
    """A text as numbers of characters; the last tenth is held out."""

    alphabet: str
    train: Tensor  #: (characters,) int64
    held_out: Tensor

    def batch(self, batch: int, length: int, device: str) -> tuple[Tensor, Tensor]:
        """Sequences from drawn places, and for each of their characters the one that follows.

        Returns:
            Two of (batch, length).
        """
        return cut(self.train, torch.randint(len(self.train) - length, (batch,)), length, device)


def cut(codes: Tensor, starts: Tensor, length: int, device: str) -> tuple[Tensor, Tensor]:
    """The sequences that start there, and what follows each of their characters."""
    places = starts[:, None] + torch.arange(length + 1)
    found = codes[places].to(device)
    return found[:, :-1], found[:, 1:]


def read_text(name: str) -> Text:
    """The text of that name: "shakespeare", or "pydoc" for Python's own manual."""
    if name == "pydoc":
        from pydoc_data.topics import topics

        text = "\n".join(topics[one] for one in sorted(topics))
    elif name == "shakespeare":
        from iclr2020 import data

        text = data.shakespeare()
    else:
        raise SystemExit(f"--data: expected shakespeare or pydoc, got {name!r}")
    alphabet = "".join(sorted(set(text)))
    numbers = {character: number for number, character in enumerate(alphabet)}
    codes = torch.tensor([numbers[character] for character in text])
    held_out = len(codes) // 10
    return Text(alphabet, codes[:-held_out], codes[-held_out:])
