"""Notices when something else used the machine: waits, and measures again."""

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

    `budget_s` is what all waiting and repeating may take together, so that a busy machine cannot
    hold us up. The reference is the second best calibration so far: a single lucky one sets no
    standard.
    """

    def __init__(self, calibrate: Callable[[], float], budget_s: float) -> None:
        self.calibrate = calibrate
        self.budget_s = budget_s
        self.tally = Tally()
        self.rates = [calibrate() for _ in range(5)]

    @property
    def reference(self) -> float:
        return sorted(self.rates)[-2]

    def undisturbed(self, rate: float) -> bool:
        return rate >= TOLERANCE * self.reference

    def measure(self, work: Callable[[], T]) -> T:
        """The result of the first undisturbed attempt, else of the least disturbed one."""
        quiet, result = self.attempt(work)
        for _ in range(ATTEMPTS - 1):
            if self.undisturbed(quiet) or not self.affordable():
                break
            self.tally.repeated += 1
            began = time.monotonic()
            again, other = self.attempt(work)
            self.budget_s -= time.monotonic() - began
            if again > quiet:
                quiet, result = again, other
        self.tally.measured += 1
        self.tally.kept_disturbed += not self.undisturbed(quiet)
        return result

    def affordable(self) -> bool:
        return self.took_s <= min(self.budget_s, LONGEST_S)

    def attempt(self, work: Callable[[], T]) -> tuple[float, T]:
        """The lower of the rates before and after, and the result."""
        before = self.wait_for_quiet()
        began = time.monotonic()
        result = work()
        self.took_s = time.monotonic() - began
        return min(before, self.check()), result

    def wait_for_quiet(self) -> float:
        """The latest rate: that after the measurement before, or a later one if that was low."""
        rate = self.rates[-1]
        while not self.undisturbed(rate) and self.budget_s > 0:
            began = time.monotonic()
            time.sleep(PAUSE_S)
            rate = self.check()
            self.budget_s -= time.monotonic() - began
        return rate

    def check(self) -> float:
        self.rates.append(self.calibrate())
        return self.rates[-1]
