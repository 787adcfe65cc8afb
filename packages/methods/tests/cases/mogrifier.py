"""Mogrifier LSTM."""

from __future__ import annotations

import torch
from torch import Tensor

from iclr2020.sequence.mogrifier import MogrifierLSTM

from . import Case


def _sequence() -> tuple[Tensor, ...]:
    return (torch.randn(5, 4, 3),)


CASES = [
    # Without a state the odd rounds have nothing to gate with but their biases.
    Case("MogrifierLSTM", lambda: MogrifierLSTM(3, 2, 2, rounds=3), _sequence,
         lambda: (torch.randn(5, 4, 2),), permuted=1, equivariant=True),
    Case("MogrifierLSTM, both ways", lambda: MogrifierLSTM(3, 2, rank=1, bidirectional=True),
         _sequence, lambda: (torch.randn(5, 4, 2),)),
    Case("MogrifierLSTM, dropout", lambda: MogrifierLSTM(3, 2, 2, rounds=2, dropout=0.5),
         _sequence, lambda: (torch.randn(5, 4, 2),), eval_differs=True),
]  # fmt: skip
