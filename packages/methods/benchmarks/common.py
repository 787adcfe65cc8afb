"""What every benchmark of a method is: rivals that do the same work, in one run, as ratios.

A benchmark is a file beside this one with a `BENCHMARKS` list in it. `python benchmarks/run.py`
races them all and writes BENCHMARKS.md.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

Work = Callable[[], Any]

_LEAST_S = 0.02  # of one measurement: short work is repeated within it


@dataclass(frozen=True)
class Benchmark:
    """One race, at several sizes.

    Attributes:
        title: of its table.
        size: what grows: the name of the first column.
        sizes: its values.
        rivals: for a size, what to call by name. The first is ours, the second is what it is
            compared with; all do the same work, and `same` may check that.
        why: where ours is slower than the reference, the reason.
        same: for a size, raises if the rivals' results differ.
    """

    title: str
    size: str
    sizes: Sequence[int]
    rivals: Callable[[int], Mapping[str, Work]]
    why: str = ""
    same: Callable[[int], None] | None = None


def race(rivals: Mapping[str, Work], rounds: int) -> dict[str, float]:
    """The median time of each in seconds, measured in turns, so that a busy machine hurts all."""
    counts = {name: _count(work) for name, work in rivals.items()}
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, work in rivals.items():
            times[name].append(_time_s(work, counts[name]))
    return {name: statistics.median(each) for name, each in times.items()}


def _count(work: Work) -> int:
    """How often in one measurement; it is called once or twice before, to warm up."""
    work()
    return max(1, round(_LEAST_S / max(_time_s(work, 1), 1e-9)))


def _time_s(work: Work, count: int) -> float:
    _synchronize()
    began_s = time.perf_counter()
    for _ in range(count):
        work()
    _synchronize()
    return (time.perf_counter() - began_s) / count


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def saved_mib(work: Work) -> float:
    """How much autograd keeps for the backward pass, each storage once, in MiB."""
    kept: dict[int, tuple[torch.UntypedStorage, int]] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage, storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        work()
    return sum(size for _, size in kept.values()) / 2**20
