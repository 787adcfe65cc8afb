"""The progress bar: a last line of the terminal that the output of jobs can't overwrite.

The scroll region of the terminal (DECSTBM) is set to all lines but the last. So what the jobs
print scrolls above it. Without a terminal, a plain line is written at most once a second.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

from simple_gpu_scheduler.pipe.events import Event, Finished, Progress
from simple_gpu_scheduler.policy.model import Running
from simple_gpu_scheduler.policy.reasons import explain
from simple_gpu_scheduler.system.fds import write_message
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.units.durations import format_duration

_SAVE, _RESTORE, _ERASE_LINE = "\x1b7", "\x1b8", "\x1b[2K"
_BAR_WIDTH = 20
_DRAW_EVERY_S = 0.1
_PLAIN_EVERY_S = 1.0


def progress_text(progress: Progress, start_s: float, width: int) -> str:
    """The line of the progress bar, cut to the width."""
    counts = progress.counts
    done = counts.done + counts.skipped
    parts = [f"{done}/{progress.known if progress.complete else '?'} done"]
    if progress.complete:
        parts.insert(0, _format_bar(done, progress.known))
    if counts.failed:
        parts.append(f"{counts.failed} failed")
    parts.append(f"{len(progress.running)} running")
    left_s = seconds_left(progress, start_s)
    if left_s is not None:
        parts.append(f"ETA {format_duration(left_s)}")
    parts += [_format_running(running, progress.now_s) for running in progress.running]
    hold = progress.hold
    if hold is not None and (hold.job.gpus > 1 or hold.until_s is not None):
        parts.append(f"#{hold.job.seq} {explain(hold)}")
    return printable("  ".join(parts))[:width]


def seconds_left(progress: Progress, start_s: float) -> float | None:
    """The seconds to the end at the pace so far; None while the end or the pace is unknown."""
    done = progress.counts.done
    if not progress.complete or done == 0:
        return None
    left = progress.known - done - progress.counts.skipped
    return left * (progress.now_s - start_s) / done


def _format_bar(done: int, total: int) -> str:
    filled = _BAR_WIDTH * done // total if total else _BAR_WIDTH
    return f"[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}]"


def _format_running(running: Running, now_s: float) -> str:
    runtime = format_duration(now_s - running.started_s)
    return f"gpu {','.join(running.gpus)}: #{running.job.seq} {runtime}"


class ProgressBar:
    """Implements `pipe.ports.Listener`; call `close` at the end, whatever happened."""

    def __init__(self, fd: int, *, terminal: bool, start_s: float) -> None:
        """Nothing is written yet.

        Args:
            fd: Where the progress goes.
            terminal: True if that is a terminal.
            start_s: When the run began, on the monotonic clock.
        """
        self._fd = fd
        self._terminal = terminal
        self._start_s = start_s
        self._size: os.terminal_size | None = None  # of the screen when it was divided
        self._next_s = start_s
        self._last_done = 0
        if terminal:
            signal.signal(signal.SIGTSTP, self._suspend)

    def on_event(self, event: Event) -> None:
        """Draw the progress, but not too often."""
        if isinstance(event, Finished):
            self.close()
        elif isinstance(event, Progress) and (event.now_s >= self._next_s or _is_idle(event)):
            every_s = _DRAW_EVERY_S if self._terminal else _PLAIN_EVERY_S
            self._next_s = event.now_s + every_s
            if self._terminal:
                self._draw(event)
            else:
                self._write_line(event)

    def close(self) -> None:
        """Reset the scroll region to the whole screen."""
        if self._size is not None:
            lines = self._size.lines
            self._write(
                f"{_SAVE}\x1b[1;{lines}r{_RESTORE}{_SAVE}\x1b[{lines};1H{_ERASE_LINE}{_RESTORE}"
            )
            self._size = None

    def _draw(self, progress: Progress) -> None:
        size = self._terminal_size()
        if size is None or size.lines < 3:
            return
        if size != self._size:
            self._reserve(size)
        text = progress_text(progress, self._start_s, size.columns - 1)
        self._write(f"{_SAVE}\x1b[{size.lines};1H{_ERASE_LINE}{text}{_RESTORE}")

    def _reserve(self, size: os.terminal_size) -> None:
        """Scroll up by a line if need be, then exclude the last line from the scroll region."""
        self.close()
        self._write(f"\n{_SAVE}\x1b[1;{size.lines - 1}r{_RESTORE}\x1b[1A")
        self._size = size

    def _terminal_size(self) -> os.terminal_size | None:
        try:
            return os.get_terminal_size(self._fd)
        except OSError:
            return None

    def _write_line(self, progress: Progress) -> None:
        done = progress.counts.done
        if done != self._last_done:
            self._last_done = done
            self._write(progress_text(progress, self._start_s, 200) + "\n")

    def _suspend(self, _number: int, _frame: FrameType | None) -> None:
        """Give the whole screen back while this program is stopped (^Z)."""
        self.close()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _write(self, text: str) -> None:
        write_message(text.encode(), self._fd)


def _is_idle(progress: Progress) -> bool:
    """True if no job runs: then no later event may come, so that this one has to be drawn."""
    return not progress.running
