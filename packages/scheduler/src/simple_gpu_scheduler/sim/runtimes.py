"""Predicts how long a job will run from the runtimes of similar jobs."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.jobs.similarity import strip_numbers
from simple_gpu_scheduler.sim.quantiles import percentile


class Runtimes(NamedTuple):
    """The runtimes of ended jobs."""

    ordered_s: Sequence[float]  #: in seconds, the shortest first; never empty
    alike: bool  #: whether they are of similar jobs only, not of all jobs

    def predict_s(self, percent: float, elapsed_s: float = 0.0) -> float:
        """Predict the whole runtime of a job, in seconds.

        Args:
            percent: the percentile among the jobs that ran longer than `elapsed_s`.
            elapsed_s: how long the job has run so far. If none ran longer, this is the prediction.
        """
        longer = self.ordered_s[bisect.bisect_right(self.ordered_s, elapsed_s) :]
        return percentile(longer, percent) if longer else elapsed_s


class RuntimeHistory:
    """The runtimes of ended jobs, grouped by the templates of their commands."""

    def __init__(self, runs: Iterable[tuple[bytes, float]]) -> None:
        """`runs` are pairs of a command and its runtime in seconds."""
        self._by_template: dict[bytes, list[float]] = {}
        self._all: list[float] = []
        for command, runtime_s in runs:
            self._by_template.setdefault(strip_numbers(command), []).append(runtime_s)
            self._all.append(runtime_s)
        for runtimes_s in (self._all, *self._by_template.values()):
            runtimes_s.sort()

    def find(self, command: bytes) -> Runtimes | None:
        """The runtimes of similar jobs; of all jobs if none is similar; None if none has ended."""
        alike = self._by_template.get(strip_numbers(command))
        if alike is None and not self._all:
            return None
        return Runtimes(self._all if alike is None else alike, alike is not None)
