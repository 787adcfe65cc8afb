"""GPU ids, as users write them."""

from __future__ import annotations

import pytest

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.gpus.ids import GpuName, find_uuids, parse_gpu_ids, visible_ids


@pytest.mark.parametrize(
    "words", [["0", "1", "2"], ["0,1,2"], ["0,1", "2"], ["0, 1", " 2"], ["0,1,2 "]]
)
def test_gpu_ids(words: list[str]) -> None:
    assert parse_gpu_ids(words) == ("0", "1", "2")


def test_gpu_ids_are_free_strings() -> None:
    assert parse_gpu_ids(["GPU-8f3a,MIG-1/2/3", "é"]) == ("GPU-8f3a", "MIG-1/2/3", "é")


@pytest.mark.parametrize(
    ("words", "message"),
    [([""], "names no GPU"), ([","], "names no GPU"), (["0,"], "empty id"), (["0,,1"], "empty"),
     (["0", "0"], "twice.*jobs-per-gpu"), (["0\n1"], "no GPU can have")],
)  # fmt: skip
def test_bad_gpu_ids(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_gpu_ids(words)


CARDS = [GpuName("0", "GPU-aaa1"), GpuName("1", "GPU-aab2"), GpuName("", "MIG-c3")]


def test_known_ids() -> None:
    found = {"01": "GPU-aab2", "GPU-aaa": "GPU-aaa1", "MIG-c3": "MIG-c3"}
    assert find_uuids(["01", "GPU-aaa", "MIG-c3"], CARDS) == found


@pytest.mark.parametrize(
    ("ids", "message"),
    [(["2"], "unknown GPU '2'; this machine has 0, 1, MIG-c3"), (["GPU-aa"], "unknown"),
     (["x"], "unknown"), (["1", "GPU-aab2"], "twice: 1 and GPU-aab2"), (["0", "00"], "twice")],
)  # fmt: skip
def test_unknown_ids(ids: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_uuids(ids, CARDS)


@pytest.mark.parametrize(
    ("inherited", "expected"),
    [
        (None, ("0", "1", "MIG-c3")),
        ("1,0", ("1", "0")),
        ("1", ("1",)),
        ("GPU-aab", ("GPU-aab",)),
        ("0,-1,1", ("0",)),
        ("", ()),
        ("NoDevFiles", ()),
        ("1,1", ("1",)),
    ],
)
def test_visible_ids_follow_cuda(inherited: str | None, expected: tuple[str, ...]) -> None:
    assert visible_ids(CARDS, inherited) == expected
