"""The processes of the queue's jobs: how they are marked, found and signalled."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from simple_gpu_scheduler.adapters import process_tree
from simple_gpu_scheduler.queue.journal import Note
from simple_gpu_scheduler.queue.records import Attempt


def queue_mark(folder: str) -> str:
    """What the processes of a queue's jobs carry in their environment."""
    status = os.stat(folder)
    return f"queue-{status.st_dev:x}-{status.st_ino:x}"


def boot_id() -> str:
    """Of this start of the machine."""
    chosen = os.environ.get("SGS_BOOT_ID")  # for tests of a restart
    if chosen:
        return chosen
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()


def log_path(folder: str, job: int, attempt: int) -> str:
    """Where a job's output goes."""
    return os.path.join(folder, "logs", f"{job}.{attempt}.log")


def kill_tree(pid: int, mark: str, job: int, number: int) -> None:
    """Signal all processes of a job, parents first."""
    for member in process_tree.members(pid, mark.encode(), job):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(member, number)
            os.kill(member, signal.SIGCONT)


def is_running(one: Attempt | Note) -> bool:
    """Whether the process that was started is still there, and is still that one."""
    if not one.pid:
        return False
    ticks = process_tree.start_ticks(one.pid)
    return ticks is not None and one.start_ticks in (0, None, ticks)


def marked(mark: str, job: int) -> int | None:
    """The first process that carries the mark of the job; its session's leader if it lives."""
    found = process_tree.marked(mark.encode()).get(job)
    return found[0] if found else None
