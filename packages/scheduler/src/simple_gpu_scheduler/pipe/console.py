"""The pipe's messages: a line for each start on stdout, errors and failures on stderr."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.pipe.events import Ended, Event, Finished, Notice, Rejected
from simple_gpu_scheduler.policy.model import Start
from simple_gpu_scheduler.system.fds import write_message
from simple_gpu_scheduler.text.printable import printable_bytes
from simple_gpu_scheduler.text.terminal import signal_name

_MOST_SHOWN_BYTES = 200


class Console:
    """Implements `pipe.ports.Listener`; writes each message at once.

    A full disk or a lost terminal does not stop the jobs. But if the reader of stdout is gone, no
    more jobs start: nobody wants to see what they print.
    """

    def __init__(self, starts_fd: int | None = 1) -> None:
        """`starts_fd` is where the lines for starts go; None: nowhere."""
        self._starts_fd = starts_fd
        # Scripts read the command as it is; a terminal would obey control characters in it.
        self._escapes_starts = starts_fd is not None and os.isatty(starts_fd)

    def on_event(self, event: Event) -> None:
        """Write the message for an event, if it has one.

        Raises:
            SgsError: The message is for stdout, and its reader is gone.
        """
        text = format_event(event)
        if not text:
            return
        if type(event) is not Start:
            write_message(text)
        elif self._starts_fd is not None:
            if self._escapes_starts:
                text = printable_bytes(text[:-1]) + b"\n"
            if not write_message(text, self._starts_fd):
                raise SgsError("nobody reads stdout any more")


def print_notice(text: str) -> None:
    """Write a message on stderr."""
    write_message(_format_line(text))


def format_event(event: Event) -> bytes:
    """The lines for an event; empty if it has no message."""
    formatter = _FORMATTERS.get(type(event))
    return b"" if formatter is None else formatter(event)


def _format_start(event: Start) -> bytes:
    """The line that simple-gpu-scheduler 0.1 printed: scripts search for it."""
    command = _one_line(event.job.command)
    return b"Processing command `%s` on gpu %s\n" % (command, _join_ids(event.gpus))


@functools.lru_cache(maxsize=1000)
def _join_ids(gpus: tuple[str, ...]) -> bytes:
    return os.fsencode(",".join(gpus))


def _format_rejected(event: Rejected) -> bytes:
    return _format_line(f"error: line {event.seq}: {event.reason}: ", event.command)


def _format_ended(event: Ended) -> bytes:
    if event.ok and not event.leftovers:
        return b""
    job = event.running.job
    text = b""
    if event.retry:
        text = _format_line(
            f"job {job.seq} {_format_exit(event)}; trying again ({_format_retry(job)})"
        )
    elif not event.ok:
        text = _format_line(
            f"job {job.seq} {_format_exit(event)} after {event.runtime_s:.1f} s: ", job.command
        )
    if event.leftovers:
        names = ", ".join(str(leftover) for leftover in event.leftovers)
        text += _format_line(f"job {job.seq} left processes running: {names}")
    return text


def _format_exit(event: Ended) -> str:
    exit_ = event.exit
    if event.running.timed_out and exit_.exit_code == 0:
        return "timed out (its exit status was 0)"
    if exit_.signal is None:
        return f"failed with exit status {exit_.exit_code}"
    return f"was ended by {signal_name(exit_.signal)}"


def _format_retry(job: Job) -> str:
    if job.tries and job.attempt >= job.tries:  # not the job's fault: that attempt doesn't count
        return f"attempt {job.attempt} once more"
    total = "" if job.tries == 0 else f" of {job.tries}"
    return f"attempt {job.attempt + 1}{total}"


def _format_summary(event: Finished) -> bytes:
    counts = event.counts
    parts: list[str] = []
    if counts.failed:
        jobs = counts.done + counts.aborted
        parts.append(f"{counts.failed} of {jobs} {'job' if jobs == 1 else 'jobs'} failed")
    if counts.aborted:
        parts.append(f"{counts.aborted} ended before their time")
    if counts.unstarted:
        parts.append(f"{counts.unstarted} read but not started")
    return _format_line("; ".join(parts)) if parts else b""


def _format_line(text: str, command: bytes | None = None) -> bytes:
    shown = b"" if command is None else b"`%s`" % _shorten(_one_line(command))
    line = text.encode(errors="surrogateescape") + shown
    return b"simple_gpu_scheduler: %s\n" % printable_bytes(line)


def _one_line(command: bytes) -> bytes:
    return command.rstrip().replace(b"\n", b"\\n")


def _shorten(command: bytes) -> bytes:
    if len(command) <= _MOST_SHOWN_BYTES:
        return command
    end = _MOST_SHOWN_BYTES
    while end > _MOST_SHOWN_BYTES - 3 and command[end] & 0xC0 == 0x80:  # within a UTF-8 character
        end -= 1
    return command[:end] + b"..."


_FORMATTERS: dict[type, Callable[[Any], bytes]] = {
    Start: _format_start,
    Ended: _format_ended,
    Rejected: _format_rejected,
    Notice: lambda notice: _format_line(notice.text),
    Finished: _format_summary,
}
