"""Mogrifier LSTM: PyTorch's LSTM where there are no rounds, and the rounds by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence

from iclr2020.sequence.mogrifier import MogrifierLSTM, MogrifierLSTMCell, mogrify


def copy_of(theirs: nn.LSTM) -> MogrifierLSTM:
    """Ours without rounds, with their weights."""
    ours = MogrifierLSTM(
        theirs.input_size, theirs.hidden_size, theirs.num_layers, rounds=0, bias=theirs.bias,
        batch_first=theirs.batch_first, bidirectional=theirs.bidirectional,
    )  # fmt: skip
    ends = ["", "_reverse"][: 1 + theirs.bidirectional]
    names = itertools.product(range(theirs.num_layers), ends)
    with torch.no_grad():
        for cell, (layer, end) in zip(ours.cells, names, strict=True):
            assert isinstance(cell, MogrifierLSTMCell)
            for name, parameter in cell.cell.named_parameters():
                parameter.copy_(getattr(theirs, f"{name}_l{layer}{end}"))
    return ours


def same(
    left: tuple[Tensor, tuple[Tensor, Tensor]], right: tuple[Tensor, tuple[Tensor, Tensor]]
) -> None:
    if isinstance(left[0], PackedSequence):
        assert isinstance(right[0], PackedSequence)
        torch.testing.assert_close(left[0].data, right[0].data)
        assert torch.equal(left[0].batch_sizes, right[0].batch_sizes)
    else:
        torch.testing.assert_close(left[0], right[0])
    torch.testing.assert_close(left[1][0], right[1][0])
    torch.testing.assert_close(left[1][1], right[1][1])


KINDS = pytest.mark.parametrize(
    ("layers", "both", "first", "bias"),
    list(itertools.product([1, 3], [False, True], [False, True], [True, False])),
)


@KINDS
@pytest.mark.parametrize("with_state", [False, True])
def test_without_rounds_it_is_an_lstm(
    layers: int, both: bool, first: bool, bias: bool, with_state: bool
) -> None:
    theirs = nn.LSTM(3, 4, layers, bias=bias, batch_first=first, bidirectional=both)
    ours, x = copy_of(theirs), torch.randn(5, 5, 3)
    state = (torch.randn(layers * (1 + both), 5, 4),) * 2 if with_state else None
    same(ours(x, state), theirs(x, state))


@KINDS
@pytest.mark.parametrize("with_state", [False, True])
def test_packed_sequences_are_an_lstms(
    layers: int, both: bool, first: bool, bias: bool, with_state: bool
) -> None:
    theirs = nn.LSTM(3, 4, layers, bias=bias, batch_first=first, bidirectional=both)
    packed = pack_sequence([torch.randn(n, 3) for n in (2, 5, 1, 5)], enforce_sorted=False)
    state = (torch.randn(layers * (1 + both), 4, 4),) * 2 if with_state else None
    same(copy_of(theirs)(packed, state), theirs(packed, state))


def test_sorted_packed_sequences() -> None:
    theirs = nn.LSTM(3, 4)
    packed = pack_padded_sequence(torch.randn(5, 3, 3), torch.tensor([5, 3, 2]))
    same(copy_of(theirs)(packed), theirs(packed))


@pytest.mark.parametrize("first", [False, True])
def test_a_sequence_without_a_batch(first: bool) -> None:
    theirs, x = nn.LSTM(3, 4, 2, batch_first=first), torch.randn(5, 3)
    state = torch.randn(2, 4), torch.randn(2, 4)
    same(copy_of(theirs)(x, state), theirs(x, state))
    same(copy_of(theirs)(x), theirs(x))


def test_a_cell_without_rounds_is_an_lstm_cell_to_the_bit() -> None:
    cell, theirs = MogrifierLSTMCell(3, 4, rounds=0), nn.LSTMCell(3, 4)
    cell.cell.load_state_dict(theirs.state_dict())
    x, state = torch.randn(2, 3), (torch.randn(2, 4), torch.randn(2, 4))
    for ours, wanted in zip(cell(x, state), theirs(x, state), strict=True):
        assert torch.equal(ours, wanted)
    for ours, wanted in zip(cell(x[0]), theirs(x[0]), strict=True):
        assert torch.equal(ours, wanted)


def test_gates_of_zeros_change_nothing() -> None:
    cell = MogrifierLSTMCell(3, 4, rounds=5, bias=False)
    for parameter in cell.gates.parameters():
        nn.init.zeros_(parameter)
    x, state = torch.randn(2, 3), (torch.randn(2, 4), torch.randn(2, 4))
    for ours, wanted in zip(cell(x, state), cell.cell(x, state), strict=True):
        torch.testing.assert_close(ours, wanted)


def test_the_rounds_are_those_of_the_paper_and_each_has_its_own_matrices() -> None:
    cell, x, h = MogrifierLSTMCell(3, 4, rounds=5), torch.randn(2, 3), torch.randn(2, 4)
    q1, r2, q3, r4, q5 = cell.gates
    x1 = 2 * torch.sigmoid(q1(h)) * x
    h2 = 2 * torch.sigmoid(r2(x1)) * h
    x3 = 2 * torch.sigmoid(q3(h2)) * x1
    h4 = 2 * torch.sigmoid(r4(x3)) * h2
    x5 = 2 * torch.sigmoid(q5(h4)) * x3
    found = mogrify(x, h, list(cell.gates))
    torch.testing.assert_close(found[0], x5)
    torch.testing.assert_close(found[1], h4)
    c = torch.randn(2, 4)
    for ours, wanted in zip(cell(x, (h, c)), cell.cell(x5, (h4, c)), strict=True):
        torch.testing.assert_close(ours, wanted)


def test_a_low_rank_is_a_product() -> None:
    low, full = MogrifierLSTMCell(3, 4, rounds=2, rank=2), MogrifierLSTMCell(3, 4, rounds=2)
    full.cell.load_state_dict(low.cell.state_dict())
    with torch.no_grad():
        for thin, thick in zip(low.gates, full.gates, strict=True):
            thick.weight.copy_(thin[1].weight @ thin[0].weight)  # type: ignore[union-attr, operator]
            thick.bias.copy_(thin[1].bias)  # type: ignore[union-attr, operator]
    x, state = torch.randn(2, 3), (torch.randn(2, 4), torch.randn(2, 4))
    torch.testing.assert_close(low(x, state)[0], full(x, state)[0])
    assert sum(p.numel() for p in low.gates.parameters()) == 2 * 2 * (3 + 4) + 3 + 4


def test_packing_changes_nothing() -> None:
    lstm = MogrifierLSTM(3, 4, 2, bidirectional=True)
    parts = [torch.randn(n, 3) for n in (5, 3, 1)]
    packed, (h, c) = lstm(pack_sequence(parts))
    for index, part in enumerate(parts):
        _, (alone_h, alone_c) = lstm(part)
        torch.testing.assert_close(h[:, index], alone_h)
        torch.testing.assert_close(c[:, index], alone_c)
    assert isinstance(packed, PackedSequence)


@pytest.mark.float64
def test_the_gradient_of_a_cell() -> None:
    cell = MogrifierLSTMCell(2, 3, rounds=4)
    x, h, c = (torch.randn(2, n, requires_grad=True) for n in (2, 3, 3))
    assert torch.autograd.gradcheck(lambda x, h, c: cell(x, (h, c)), (x, h, c))


def test_new_parameters() -> None:
    lstm = MogrifierLSTM(3, 4, rank=2)
    before = [p.clone() for p in lstm.parameters()]
    lstm.reset_parameters()
    assert not any(torch.equal(*pair) for pair in zip(before, lstm.parameters(), strict=True))


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(ValueError, match="rounds: expected a number from 0"):
        MogrifierLSTMCell(3, 4, rounds=-1)
    with pytest.raises(ValueError, match="rank: expected a number above 0"):
        MogrifierLSTMCell(3, 4, rank=0)
    with pytest.raises(ValueError, match="at least one step"):
        MogrifierLSTM(3, 4)(torch.randn(0, 2, 3))
    with pytest.raises(ValueError, match=r"h: expected shape \(batch=2, hidden=4\), got \(3, 4\)"):
        MogrifierLSTMCell(3, 4)(torch.randn(2, 3), (torch.randn(3, 4), torch.randn(3, 4)))
