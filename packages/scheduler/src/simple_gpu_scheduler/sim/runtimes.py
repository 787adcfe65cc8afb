"""How long jobs will probably run, by how long those like them ran."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.jobs.similarity import strip_numbers
from simple_gpu_scheduler.sim.quantiles import percentile


class Runtimes(NamedTuple):
    """How long jobs ran, in seconds, the shortest first."""

    ordered_s: Sequence[float]
    alike: bool  #: all are of one template; else of all jobs that there were

    def will_run_s(self, percent: float, elapsed_s: float = 0.0) -> float:
        """How long one of them runs in all, at that percentile of those that ran longer yet.

        One that runs longer than any before it is taken to end now.
        """
        longer = self.ordered_s[bisect.bisect_right(self.ordered_s, elapsed_s) :]
        return percentile(longer, percent) if longer else elapsed_s


class Durations:
    """What is known of how long jobs run, by the templates of their commands."""

    def __init__(self, runs: Iterable[tuple[bytes, float]]) -> None:
        """`runs` are commands and the seconds that they ran."""
        self._by_template: dict[bytes, list[float]] = {}
        self._all: list[float] = []
        for command, runtime_s in runs:
            self._by_template.setdefault(strip_numbers(command), []).append(runtime_s)
            self._all.append(runtime_s)
        for known in (self._all, *self._by_template.values()):
            known.sort()

    def of(self, command: bytes) -> Runtimes | None:
        """Of jobs like it; where none has ended, of all jobs; None if there were none at all."""
        alike = self._by_template.get(strip_numbers(command))
        if alike is None and not self._all:
            return None
        return Runtimes(self._all if alike is None else alike, alike is not None)
