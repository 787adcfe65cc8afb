"""How a run comes to its end: signals of the user, --halt, and things that broke."""

from __future__ import annotations

import signal

from simple_gpu_scheduler.pipe.events import Counts
from simple_gpu_scheduler.pipe.halt import Halt, reached
from simple_gpu_scheduler.policy.model import Phase

_DRAIN = signal.SIGINT, signal.SIGHUP
_END = signal.SIGTERM, signal.SIGQUIT


class Shutdown:
    """The phase of a run, which only ever grows, and what led there."""

    def __init__(self, rule: Halt | None = None) -> None:
        self.phase = Phase.OPEN
        self._rule = rule
        self._halted = False
        self._signal = 0
        self._broken = False

    def on_signal(self, number: int) -> bool:
        """Take note of a signal; False if it asks for no end.

        The first SIGINT or SIGHUP drains, the next one ends the jobs; SIGTERM and SIGQUIT end them
        at once; one more kills them.
        """
        if number not in (*_DRAIN, *_END):
            return False
        self._signal = number
        least = Phase.ENDING if number in _END else Phase.DRAINING
        self._advance(Phase(max(least, min(self.phase + 1, Phase.KILLING))))
        return True

    def check_halt(self, counts: Counts, known: int) -> bool:
        """True if these counts reach the limit of --halt for the first time."""
        if self._rule is None or self._halted or not reached(self._rule, counts, known):
            return False
        self._halted = True
        self._advance(Phase.ENDING if self._rule.when == "now" else Phase.DRAINING)
        return True

    def give_up(self) -> bool:
        """Something can't be read or recorded; False if that isn't the first such thing."""
        first = not self._broken
        self._broken = True
        self._advance(Phase.DRAINING)
        return first

    def exit_status(self, failed: int) -> int:
        """128+n after signal n; 1 if something broke or a job failed; else 0.

        `--halt soon,success=1` and its like ask for one success: there, failures don't count.
        """
        if self._signal:
            return 128 + self._signal
        if self._broken:
            return 1
        if self._halted and self._rule is not None and self._rule.why == "success":
            return 0
        return 1 if failed else 0

    def _advance(self, phase: Phase) -> None:
        self.phase = max(self.phase, phase)
