"""Notices when something else used the machine, and measures again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

TOLERANCE = 0.75
"""A measurement is disturbed if a calibration beside it is below this share of the reference."""
ATTEMPTS = 3
PAUSE_S = 0.5
LONGEST_S = 12.0
"""Longer measurements are not repeated."""


@dataclass
class Tally:
    measured: int = 0
    repeated: int = 0
    kept_disturbed: int = 0


class Guard:
    """Runs a short calibration of the floor before and after each measurement.

    `retry_s` is what all repetitions may take together, so that a busy machine cannot hold us up.
    The reference is the second best calibration so far: a single lucky one sets no standard.
    """

    def __init__(self, calibrate: Callable[[], float], retry_s: float) -> None:
        self.calibrate = calibrate
        self.rates = [calibrate() for _ in range(5)]
        self.latest: float | None = None
        self.tally = Tally()
        self.budget_s = retry_s

    @property
    def reference(self) -> float:
        return sorted(self.rates)[-2]

    def check(self) -> float:
        rate = self.calibrate()
        self.rates.append(rate)
        return rate

    def measure(self, work: Callable[[], T]) -> T:
        """The result of the first undisturbed attempt, else of the least disturbed one."""
        best: tuple[float, T] | None = None
        for attempt in range(ATTEMPTS):
            before = self.check() if self.latest is None else self.latest
            began = time.monotonic()
            result = work()
            after = self.latest = self.check()
            quiet = min(before, after)
            if best is None or quiet > best[0]:
                best = quiet, result
            took = time.monotonic() - began + PAUSE_S
            if (
                self.undisturbed(quiet)
                or attempt == ATTEMPTS - 1
                or took > min(self.budget_s, LONGEST_S)
            ):
                break
            self.budget_s -= took
            self.tally.repeated += 1
            time.sleep(PAUSE_S)
            self.latest = None
        assert best is not None
        self.tally.measured += 1
        self.tally.kept_disturbed += not self.undisturbed(best[0])
        return best[1]

    def undisturbed(self, rate: float) -> bool:
        return rate >= TOLERANCE * self.reference
