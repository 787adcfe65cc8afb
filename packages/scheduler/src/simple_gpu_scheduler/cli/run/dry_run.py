"""`simple_gpu_scheduler --dry-run`: print the commands that would run."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.pipe.console import format_event
from simple_gpu_scheduler.pipe.events import Event, Rejected
from simple_gpu_scheduler.pipe.intake import Intake
from simple_gpu_scheduler.pipe.ports import Done, Source
from simple_gpu_scheduler.policy.model import Card
from simple_gpu_scheduler.system.fds import wait_readable, write_message, write_whole
from simple_gpu_scheduler.text.printable import printable_lines


def _printable(commands: bytes) -> bytes:
    return printable_lines(commands.decode(errors="backslashreplace")).encode()


def dry_run(
    source: Source, template: Job, gpus: Sequence[Card], done: Done, separator: bytes
) -> int:
    """Print each command as the shell would get it; returns 1 if a line can't be run, else 0.

    Args:
        template: what each job needs, unless its directives say otherwise.
        gpus: the GPUs, to find jobs that could never run.
        done: the jobs to skip.
        separator: printed after each command.

    Raises:
        SgsError: stdin can't be read or stdout can't be written.
    """
    if sys.stdout is None:
        raise SgsError("--dry-run prints to stdout, which is closed")
    rejected = 0

    def report(event: Event) -> None:
        nonlocal rejected
        rejected += isinstance(event, Rejected)
        write_message(format_event(event))

    intake = Intake(source, template, gpus, done, report, time.time)
    try:
        while not source.at_end:
            wait_readable([0])
            source.fill()
            intake.take()
            while intake.waiting:
                commands = b"".join([job.command + separator for job in intake.waiting])
                write_whole(1, _printable(commands) if os.isatty(1) else commands)
                intake.waiting.clear()
                intake.take()
    except BrokenPipeError:  # nobody reads stdout any more, as with `| head`
        return 0
    except OSError as error:
        raise SgsError(f"--dry-run stopped: {error.strerror}") from None
    return 1 if rejected else 0
