r"""Mogrifier LSTM: before each step, input and state gate each other for a few rounds.

The embedding of a token then depends on the context in which the LSTM gets it, and the state on
what comes; the LSTM itself is unchanged.

.. math::
    x^i &= 2 \sigma(Q^i h^{i-1}) \odot x^{i-2} \qquad i \text{ odd} \\
    h^i &= 2 \sigma(R^i x^{i-1}) \odot h^{i-2} \qquad i \text{ even}, \qquad
        x^{-1} = x, \ h^0 = h_{prev}, \ 1 \le i \le r \\
    h, c &= \mathrm{LSTM}(x^{\text{last}}, h^{\text{last}}, c_{prev})

With r = 0 it is an LSTM. Each round has matrices of its own, optionally of low rank, and a bias.
The cell state c isn't touched.

Shapes: as of `nn.LSTMCell` and `nn.LSTM`, packed sequences included.

Trap: one Q and one R for all rounds is another model than the paper's.

References:
    | Mogrifier LSTM (Melis et al., 2020) | https://arxiv.org/abs/1909.01792
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from iclr2020.checks import between, positive, sizes
from iclr2020.citation import Reference

REFERENCES = (
    Reference(
        key="melis2020mogrifier",
        title="Mogrifier {LSTM}",
        authors=("Melis, G{\\'a}bor", "Ko{\\v{c}}isk{\\'y}, Tom{\\'a}{\\v{s}}", "Blunsom, Phil"),
        year=2020,
        arxiv="1909.01792",
    ),
)

State = tuple[Tensor, Tensor]


def mogrify(x: Tensor, h: Tensor, gates: Sequence[nn.Module]) -> tuple[Tensor, Tensor]:
    """Have input and state gate each other in turn, the input first.

    Args:
        x: (batch, inputs).
        h: (batch, hidden).
        gates: what maps h to the logits of x's gate, then x to those of h's, and so on.

    Returns:
        x and h after all rounds.

    Example:
        >>> x, h = torch.ones(1, 2), torch.ones(1, 3)
        >>> zero = nn.init.zeros_
        >>> q = nn.Linear(3, 2); _ = zero(q.weight), zero(q.bias)
        >>> mogrify(x, h, [q])  # a gate of 2 * sigmoid(0) = 1
        (tensor([[1., 1.]], grad_fn=<MulBackward0>), tensor([[1., 1., 1.]]))
    """
    for number, gate in enumerate(gates):
        if number % 2:
            h = 2 * gate(x).sigmoid() * h
        else:
            x = 2 * gate(h).sigmoid() * x
    return x, h


class MogrifierLSTMCell(nn.Module):
    """One step, with `nn.LSTMCell`'s interface.

    Args:
        input_size: features of the input.
        hidden_size: features of the state.
        rounds: r; 0 is an LSTM.
        rank: of the matrices of the rounds; None: full.
        bias: of the LSTM and of the gates.

    Shape:
        - x: (batch, input_size), or (input_size,); state: h and c of (batch, hidden_size), or of
          (hidden_size,); zeros if there is none.
        - Output: h and c.

    Raises:
        ValueError: a number is out of range.

    Example:
        >>> cell = MogrifierLSTMCell(3, 4, rounds=5, rank=2)
        >>> h, c = cell(torch.randn(2, 3))
        >>> h.shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        rounds: int = 5,
        rank: int | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.input_size = positive("input_size", input_size)
        self.hidden_size = positive("hidden_size", hidden_size)
        self.rounds, self.rank = int(between("rounds", rounds, 0, 1000)), rank
        self.cell = nn.LSTMCell(input_size, hidden_size, bias=bias)
        ends = (hidden_size, input_size), (input_size, hidden_size)
        self.gates = nn.ModuleList(
            _gate(*ends[number % 2], rank, bias=bias) for number in range(rounds)
        )

    def reset_parameters(self) -> None:
        """As PyTorch's linear layers and LSTM."""
        self.cell.reset_parameters()
        for layer in self.gates.modules():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()

    def forward(self, x: Tensor, state: State | None = None) -> State:
        """The next state."""
        if x.dim() == 1:
            h, c = self(x[None], None if state is None else (state[0][None], state[1][None]))
            return h[0], c[0]
        batch, _ = sizes("x", x, "batch inputs", inputs=self.input_size)
        if state is None:
            h = c = x.new_zeros(batch, self.hidden_size)
        else:
            h, c = state
            sizes("h", h, "batch hidden", batch=batch, hidden=self.hidden_size)
        x, h = mogrify(x, h, list(self.gates))
        found: State = self.cell(x, (h, c))
        return found

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.input_size}, {self.hidden_size}, rounds={self.rounds}, rank={self.rank}"


class MogrifierLSTM(nn.Module):
    """Several layers over sequences, with `nn.LSTM`'s interface.

    Args:
        input_size: features of the input.
        hidden_size: features of the state.
        num_layers: one over the other.
        rounds: r, of each layer.
        rank: of the matrices of the rounds; None: full.
        bias: of the LSTMs and of the gates.
        batch_first: inputs are (batch, time, features).
        dropout: of the outputs of all layers but the last.
        bidirectional: a second net goes from the end to the beginning.

    Shape:
        - input: (time, batch, input_size), batch first if asked for, (time, input_size), or a
          `PackedSequence`; state: h and c, each (layers * directions, batch, hidden_size).
        - Output: what the input is, with directions * hidden_size features; and h and c.

    Example:
        >>> lstm = MogrifierLSTM(3, 4, num_layers=2, batch_first=True)
        >>> output, (h, c) = lstm(torch.randn(5, 7, 3))
        >>> output.shape, h.shape
        (torch.Size([5, 7, 4]), torch.Size([2, 5, 4]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        rounds: int = 5,
        rank: int | None = None,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.num_layers, self.batch_first = positive("num_layers", num_layers), batch_first
        self.directions = 1 + bidirectional
        self.dropout = between("dropout", dropout, 0, 1)
        inputs = [input_size, *[hidden_size * self.directions] * (num_layers - 1)]
        self.cells = nn.ModuleList(
            MogrifierLSTMCell(size, hidden_size, rounds, rank, bias=bias)
            for size in inputs
            for _ in range(self.directions)
        )

    def reset_parameters(self) -> None:
        """Those of all cells."""
        for cell in self.cells:
            cell.reset_parameters()  # type: ignore[operator]

    def forward(self, input: Any, state: State | None = None) -> tuple[Any, State]:
        """The outputs of the last layer, and the last state of each."""
        if isinstance(input, PackedSequence):
            return self._packed(input, state)
        if input.dim() == 2:
            alone = None if state is None else (state[0][:, None], state[1][:, None])
            output, (h, c) = self(input[None] if self.batch_first else input[:, None], alone)
            return output.squeeze(0 if self.batch_first else 1), (h[:, 0], c[:, 0])
        sizes("input", input, "a b features", features=self.input_size)
        steps = input.unbind(1 if self.batch_first else 0)
        if not steps:
            raise ValueError("input: expected at least one step, got none")
        outputs, state = self._all(steps, state, len(steps[0]))
        return torch.stack(outputs, 1 if self.batch_first else 0), state

    def _packed(self, input: PackedSequence, state: State | None) -> tuple[PackedSequence, State]:
        data, counts, order, back = input
        sizes("input", data, "elements features", features=self.input_size)
        if state is not None and order is not None:
            state = state[0][:, order], state[1][:, order]
        steps = torch.split(data, counts.tolist())
        outputs, (h, c) = self._all(steps, state, int(counts[0]))
        if back is not None:
            h, c = h[:, back], c[:, back]
        return PackedSequence(torch.cat(outputs), counts, order, back), (h, c)

    def _all(
        self, steps: Sequence[Tensor], state: State | None, batch: int
    ) -> tuple[list[Tensor], State]:
        count = len(self.cells)
        if state is None:
            h = c = steps[0].new_zeros(count, batch, self.hidden_size)
        else:
            h, c = state
            sizes(
                "h", h, "layers batch hidden", layers=count, batch=batch, hidden=self.hidden_size
            )
        outputs, last = list(steps), []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                outputs = [
                    nn.functional.dropout(one, self.dropout, self.training) for one in outputs
                ]
            found = []
            for direction in range(self.directions):
                number = layer * self.directions + direction
                turned = outputs[::-1] if direction else outputs
                one, final = _run(self.cells[number], turned, (h[number], c[number]))
                found.append(one[::-1] if direction else one)
                last.append(final)
            outputs = [torch.cat(both, 1) for both in zip(*found, strict=True)]
        return outputs, (torch.stack([h for h, _ in last]), torch.stack([c for _, c in last]))


def _run(cell: nn.Module, steps: Sequence[Tensor], state: State) -> tuple[list[Tensor], State]:
    """One cell over the steps. A step may have fewer rows than the state: those come first."""
    h, c = state
    outputs = []
    for x in steps:
        count = len(x)
        if count == len(h):
            h, c = cell(x, (h, c))
            outputs.append(h)
        else:
            now, cell_now = cell(x, (h[:count], c[:count]))
            h, c = torch.cat([now, h[count:]]), torch.cat([cell_now, c[count:]])
            outputs.append(now)
    return outputs, (h, c)


def _gate(inputs: int, outputs: int, rank: int | None, *, bias: bool) -> nn.Module:
    if rank is None:
        return nn.Linear(inputs, outputs, bias=bias)
    return nn.Sequential(
        nn.Linear(inputs, positive("rank", rank), bias=False), nn.Linear(rank, outputs, bias=bias)
    )
