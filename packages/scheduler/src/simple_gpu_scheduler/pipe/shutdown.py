"""How a run ends early: by signals of the user, by --halt, or because something broke."""

from __future__ import annotations

import signal

from simple_gpu_scheduler.pipe.events import Counts
from simple_gpu_scheduler.pipe.halt import Halt, is_reached
from simple_gpu_scheduler.policy.model import Phase

_DRAINING_SIGNALS = signal.SIGINT, signal.SIGHUP
_ENDING_SIGNALS = signal.SIGTERM, signal.SIGQUIT


class Shutdown:
    """The phase of a run, which never goes back, and what led to it."""

    def __init__(self, rule: Halt | None = None) -> None:
        """`rule` is that of --halt."""
        self.phase = Phase.OPEN
        self.rule = rule
        self._halted = False
        self._signal = 0
        self._broken = False

    def on_signal(self, number: int) -> bool:
        """Advance the phase by a signal; False if the signal ends nothing.

        The first SIGINT or SIGHUP drains, the next one ends the jobs. SIGTERM and SIGQUIT end the
        jobs at once. One more signal kills them.
        """
        if number not in (*_DRAINING_SIGNALS, *_ENDING_SIGNALS):
            return False
        self._signal = number
        least = Phase.ENDING if number in _ENDING_SIGNALS else Phase.DRAINING
        self._advance(Phase(max(least, min(self.phase + 1, Phase.KILLING))))
        return True

    def check_halt(self, counts: Counts, known: int) -> bool:
        """Advance the phase if these counts reach the limit of --halt; True the first time.

        Args:
            counts: How many jobs came to which end.
            known: The number of jobs in the input as far as it was read.
        """
        if self.rule is None or self._halted or not is_reached(self.rule, counts, known):
            return False
        self._halted = True
        self._advance(Phase.ENDING if self.rule.when == "now" else Phase.DRAINING)
        return True

    def give_up(self) -> bool:
        """Drain, because something can't be read or recorded; True the first time."""
        is_first = not self._broken
        self._broken = True
        self._advance(Phase.DRAINING)
        return is_first

    def exit_status(self, failed: int) -> int:
        """The exit status: 128+n after signal n, 1 if something broke or a job failed, else 0.

        A rule such as `--halt soon,success=1` asks for one success: then failures don't count.
        """
        if self._signal:
            return 128 + self._signal
        if self._broken:
            return 1
        if self._halted and self.rule is not None and self.rule.why == "success":
            return 0
        return 1 if failed else 0

    def _advance(self, phase: Phase) -> None:
        self.phase = max(self.phase, phase)
