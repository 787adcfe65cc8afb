"""Mogrifier LSTM against `nn.LSTM` and against a loop over `nn.LSTMCell`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from common import Benchmark, Work
from torch import Tensor, nn

from iclr2020.sequence.mogrifier import MogrifierLSTM

BATCH, WIDTH = 32, 128


def _rivals(length: int) -> Mapping[str, Work]:
    torch.manual_seed(0)
    x = torch.randn(length, BATCH, WIDTH)
    ours, none = MogrifierLSTM(WIDTH, WIDTH, rounds=5), MogrifierLSTM(WIDTH, WIDTH, rounds=0)
    low, theirs = MogrifierLSTM(WIDTH, WIDTH, rounds=5, rank=16), nn.LSTM(WIDTH, WIDTH)
    cell = nn.LSTMCell(WIDTH, WIDTH)
    compiled = torch.compile(ours, dynamic=False)

    def looped() -> None:
        state: tuple[Tensor, Tensor] | None = None
        outputs = []
        for step in x:
            state = cell(step, state)
            outputs.append(state[0])
        torch.stack(outputs).sum().backward()

    return {
        "5 rounds": lambda: ours(x)[0].sum().backward(),
        "nn.LSTM": lambda: theirs(x)[0].sum().backward(),
        "5 rounds, compiled": lambda: compiled(x)[0].sum().backward(),
        "5 rounds, rank 16": lambda: low(x)[0].sum().backward(),
        "0 rounds": lambda: none(x)[0].sum().backward(),
        "nn.LSTMCell": looped,
    }


BENCHMARKS = [
    Benchmark(
        "Mogrifier LSTM, forward and backward",
        "steps",
        (8, 32),
        _rivals,
        why="5 rounds are 5 more products of matrices a step than the LSTM's 2 (of 4 times the "
        "size), and nn.LSTM runs the one for its inputs for all steps at once, which rounds don't "
        "allow",
    )
]
