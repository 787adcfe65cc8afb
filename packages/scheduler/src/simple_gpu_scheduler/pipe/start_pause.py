"""When to try again to start jobs, after something was lacking: pure decisions.

Another user may take away a port, a descriptor or the room for a process for a while. That must
not end the run, so the loop waits and tries again. It gives up only if nothing can change: when
the lack is our own and none of our jobs runs that could end.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from simple_gpu_scheduler.errors import CrowdedError, PassingError

_RETRY_S, _NOTICE_AGAIN_S = 1.0, 600.0

#: Pauses double up to this length if no process can be started.
_LONGEST_PAUSE_S = 60.0

#: If none of our jobs runs, give up after no process could be started for this long.
_PATIENCE_S = 600.0

#: Errors of starting a process that may pass once another process has ended.
_PASSING = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


def may_pass(error: OSError) -> bool:
    """True if a process could not be started, but it may be possible later."""
    return error.errno in _PASSING


class PauseDecision(NamedTuple):
    """What to do after an error: pause, or give up."""

    text: str = ""  #: for the user; empty if the user has been told lately
    gives_up: bool = False


class StartPause:
    """The pause during which no job starts. All times are on the monotonic clock."""

    def __init__(self) -> None:
        self._end_s: float | None = None
        self._length_s = _RETRY_S
        self._crowded_since_s: float | None = None  # since when no process could be started
        self._last_text, self._last_text_s = "", 0.0

    def is_on(self, now_s: float) -> bool:
        """True until the pause is over."""
        if self._end_s is not None and now_s >= self._end_s:
            self._end_s = None
        return self._end_s is not None

    def left_s(self, now_s: float) -> float | None:
        """The seconds until the pause ends; None if there is none."""
        return None if self._end_s is None else max(0.0, self._end_s - now_s)

    def on_process_started(self) -> None:
        """Forget that no process could be started."""
        self._crowded_since_s = None

    def on_job_ended(self) -> None:
        """End the pause: what the job had may be what was lacking."""
        self._end_s = self._crowded_since_s = None

    def after_lack(self, error: PassingError, now_s: float, *, jobs_run: bool) -> PauseDecision:
        """Decide what to do when a lease, a file or the like can't be had for now."""
        return self._begin(error, now_s, _RETRY_S, jobs_run=jobs_run)

    def after_failed_start(self, error: OSError, now_s: float, *, jobs_run: bool) -> PauseDecision:
        """Decide what to do when the kernel starts no process, for a reason that may pass."""
        text = f"no process can be started: {error.strerror}"
        if self._crowded_since_s is None:
            self._crowded_since_s, self._length_s = now_s, _RETRY_S
        if not jobs_run and now_s >= self._crowded_since_s + _PATIENCE_S:
            return PauseDecision(text, gives_up=True)
        kind = CrowdedError if error.errno == errno.EMFILE else PassingError
        decision = self._begin(kind(text), now_s, self._length_s, jobs_run=jobs_run)
        self._length_s = min(2 * self._length_s, _LONGEST_PAUSE_S)
        return decision

    def _begin(
        self, error: PassingError, now_s: float, length_s: float, *, jobs_run: bool
    ) -> PauseDecision:
        if isinstance(error, CrowdedError) and not jobs_run:
            return PauseDecision(str(error), gives_up=True)
        self._end_s = now_s + length_s
        text = str(error)
        if text == self._last_text and now_s <= self._last_text_s + _NOTICE_AGAIN_S:
            return PauseDecision()
        self._last_text, self._last_text_s = text, now_s
        return PauseDecision(f"{text}; waiting until that is over")
