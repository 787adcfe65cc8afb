"""What the pipe says: the original's line for each job on stdout, what went wrong on stderr."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.pipe.events import Ended, Event, Finished, Notice, Rejected
from simple_gpu_scheduler.policy.model import Start
from simple_gpu_scheduler.system.fds import say
from simple_gpu_scheduler.text.printable import printable_bytes
from simple_gpu_scheduler.text.terminal import signal_name

_MOST_SHOWN_BYTES = 200


class Console:
    """Implements `ports.Listener`; writes each message at once and whole.

    A full disk or a terminal that is gone is no reason to stop the jobs. A pipe whose reader is
    gone is one to start no more of them: nobody wants to see what they print.
    """

    def __init__(self, starts_fd: int | None = 1) -> None:
        """`starts_fd` is where starts are told, None for nowhere."""
        self._starts_fd = starts_fd
        #: Scripts read the command as it is; a terminal would do what is in it.
        self._is_escaped = starts_fd is not None and os.isatty(starts_fd)

    def on_event(self, event: Event) -> None:
        """Say it.

        Raises:
            SgsError: it is for stdout, whose reader is gone.
        """
        text_of = _TEXTS.get(type(event))
        if text_of is not None and (text := text_of(event)):
            fd = self._starts_fd if type(event) is Start else 2
            if type(event) is Start and self._is_escaped:
                text = printable_bytes(text[:-1]) + b"\n"
            if fd is not None and not say(text, fd) and fd != 2:
                raise SgsError("nobody reads stdout any more")


def notice(text: str) -> None:
    """Say something on stderr."""
    say(_say(text))


def message(event: Event) -> bytes:
    """The lines for an event; empty where there is nothing to say."""
    text = _TEXTS.get(type(event))
    return b"" if text is None else text(event)


def _starting(event: Start) -> bytes:
    """The line of simple-gpu-scheduler 0.1, which scripts look for."""
    command = _one_line(event.job.command)
    return b"Processing command `%s` on gpu %s\n" % (command, _ids(event.gpus))


@functools.lru_cache(maxsize=1000)
def _ids(gpus: tuple[str, ...]) -> bytes:
    return os.fsencode(",".join(gpus))


def _rejected(event: Rejected) -> bytes:
    return _say(f"error: line {event.seq} {event.reason}: ", event.command)


def _ended(event: Ended) -> bytes:
    if event.ok and not event.leftovers:
        return b""
    job = event.running.job
    text = b""
    if event.retry:
        text = _say(f"job {job.seq} {_how(event)}; trying again ({_tries(job)})")
    elif not event.ok:
        text = _say(f"job {job.seq} {_how(event)} after {event.runtime_s:.1f} s: ", job.command)
    if event.leftovers:
        left = ", ".join(str(one) for one in event.leftovers)
        text += _say(f"job {job.seq} left processes running: {left}")
    return text


def _how(event: Ended) -> str:
    done = event.exit
    if event.running.timed_out and done.exit_code == 0:
        return "timed out (its exit status was 0)"
    if done.signal is None:
        return f"failed with exit status {done.exit_code}"
    return f"was ended by {signal_name(done.signal)}"


def _tries(job: Job) -> str:
    if job.tries and job.attempt >= job.tries:  # it isn't the job's fault: that counts as no try
        return f"attempt {job.attempt} once more"
    total = "" if job.tries == 0 else f" of {job.tries}"
    return f"attempt {job.attempt + 1}{total}"


def _summary(event: Finished) -> bytes:
    counts = event.counts
    parts: list[str] = []
    if counts.failed:
        jobs = counts.done + counts.aborted
        parts.append(f"{counts.failed} of {jobs} {'job' if jobs == 1 else 'jobs'} failed")
    if counts.aborted:
        parts.append(f"{counts.aborted} ended before their time")
    if counts.unstarted:
        parts.append(f"{counts.unstarted} read but not started")
    return _say("; ".join(parts)) if parts else b""


def _say(text: str, command: bytes | None = None) -> bytes:
    shown = b"" if command is None else b"`%s`" % _shortened(_one_line(command))
    said = text.encode(errors="surrogateescape") + shown
    return b"simple_gpu_scheduler: %s\n" % printable_bytes(said)


def _one_line(command: bytes) -> bytes:
    return command.rstrip().replace(b"\n", b"\\n")


def _shortened(command: bytes) -> bytes:
    if len(command) <= _MOST_SHOWN_BYTES:
        return command
    end = _MOST_SHOWN_BYTES
    while end > _MOST_SHOWN_BYTES - 3 and command[end] & 0xC0 == 0x80:  # in a character of UTF-8
        end -= 1
    return command[:end] + b"..."


_TEXTS: dict[type, Callable[[Any], bytes]] = {
    Start: _starting,
    Ended: _ended,
    Rejected: _rejected,
    Notice: lambda notice: _say(notice.text),
    Finished: _summary,
}
