"""A pause in which the server starts no jobs, after an error that may pass."""

from __future__ import annotations

import time
from collections.abc import Callable

from simple_gpu_scheduler.errors import SgsError

#: After an error, such as a full disk or leases that can't be taken: try again after so long, and
#: log the same error only so often.
TRY_AGAIN_S, _LOG_AGAIN_S = 5.0, 600.0

#: The pause if no process can be started. It doubles each time, up to the second number.
_FIRST_PAUSE_S, _LAST_PAUSE_S = 1.0, 60.0


class StartPause:
    """Decides when the server may start jobs again, and logs why it doesn't."""

    def __init__(self, log: Callable[[str], None]) -> None:
        """`log` writes a line to the server's log."""
        self._log = log
        self._logged, self._logged_s = "", 0.0
        self._next_pause_s = _FIRST_PAUSE_S
        self.until_s: float | None = None  #: on the monotonic clock; None: there is no pause

    def begin(self, error: SgsError, pause_s: float = TRY_AGAIN_S) -> None:
        """Start nothing for so many seconds."""
        now_s = time.monotonic()
        self.until_s = now_s + pause_s
        if str(error) != self._logged or now_s > self._logged_s + _LOG_AGAIN_S:
            self._logged, self._logged_s = str(error), now_s
            self._log(f"error: {error}; trying again in {pause_s:g} s")

    def begin_without_processes(self, why: str) -> None:
        """Start nothing for a while, as no process could be started; ever longer."""
        if not self.is_on():
            self.begin(SgsError(f"no job can be started: {why}"), self._next_pause_s)
            self._next_pause_s = min(2 * self._next_pause_s, _LAST_PAUSE_S)

    def end(self) -> None:
        """Start jobs again at once."""
        self.until_s = None

    def reset_length(self) -> None:
        """Begin with the shortest pause again, as a process could be started."""
        self._next_pause_s = _FIRST_PAUSE_S

    def is_on(self) -> bool:
        """True during a pause."""
        if self.until_s is not None and time.monotonic() >= self.until_s:
            self.until_s = None
        return self.until_s is not None
