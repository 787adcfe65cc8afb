"""What the commands of the queue share: naming jobs, waiting for changes, and showing a job."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.job_ids import job_ids
from simple_gpu_scheduler.queue.records import CANCELLED, QueuedJob
from simple_gpu_scheduler.queue.wrapped_command import own_command

#: Seconds between two tries to start a server: the first pause, and the longest.
_FIRST_PAUSE_S, _LAST_PAUSE_S = 2.0, 60.0


def add_job_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `ID ...` and `--group G`."""
    parser.add_argument("--group", metavar="G", help="apply to the jobs of group G instead of IDs")
    parser.add_argument(
        "jobs", nargs="*", metavar="ID", help="number of a job, or several: 3, 3,5 or 3-7"
    )


def find_jobs(home: QueueHome, words: Sequence[str], group: str | None) -> list[QueuedJob]:
    """Return the jobs of a group, or those that the words name, such as `3` or `3-7`.

    Raises:
        UsageError: no job is named, or there is no such job.
    """
    if group is not None:
        jobs = home.store.entries(group=group)
        if not jobs:
            raise UsageError(f"there is no job of the group {group!r}")
        return jobs
    ids = job_ids(words)
    if not ids:
        raise UsageError("expected a job number, such as 3 or 3-7, or --group G")
    jobs = home.store.entries(jobs=ids)
    missing = sorted(set(ids) - {job.id for job in jobs})
    if missing:
        from simple_gpu_scheduler.queue.store.dependencies import no_job

        raise UsageError(f"{no_job(home.store.file.database, missing[0])}; see sgs status --all")
    return jobs


def wait_for_changes(
    home: QueueHome, is_over: Callable[[], bool], also: str | None = None
) -> None:
    """Call `is_over` again whenever the queue's file changes, until it returns true.

    If the server is killed meanwhile, another one is started. If that fails, the pauses between
    two tries become longer.

    Args:
        also: another folder that is watched for changes.
    """
    from simple_gpu_scheduler.queue.changes import QueueChanges

    with QueueChanges([home.folder, *([also] if also else [])]) as changes:
        pause_s, next_s = _FIRST_PAUSE_S, 0.0
        while not is_over():
            if home.server_pid() is not None:
                pause_s = _FIRST_PAUSE_S
                changes.wait()
            elif (left_s := next_s - time.monotonic()) > 0:
                changes.wait(left_s)
            else:
                home.wake()
                pause_s, next_s = min(2 * pause_s, _LAST_PAUSE_S), time.monotonic() + pause_s


def as_object(job: QueuedJob) -> dict[str, Any]:
    """Return a job as the JSON object that --json prints."""
    return {
        "id": job.id,
        "state": job.state,
        "exit_code": job.exit_code,
        "signal": job.signal,
        "reason": job.reason or None,
        "command": own_command(job.command).decode(errors="replace"),
        "name": job.name or None,
        "group": job.group or None,
        "key": job.key,
        "priority": job.priority,
        "gpus": list(job.gpu_names),
        "gpus_asked": job.gpus,
        "vram_mib": job.memory_mib,
        "snapshot": job.snapshot or None,
        "attempt": job.attempt,
        "submitted": job.submitted_s,
        "started": job.started_s,
        "ended": job.ended_s,
    }


def how_it_ended(job: QueuedJob) -> str:
    """Return `exit 3`, `SIGKILL` or a reason; empty if the state says it all."""
    from simple_gpu_scheduler.text.terminal import signal_name

    parts = []
    if job.exit_code:
        parts.append(f"exit {job.exit_code}")
    if job.signal is not None:
        parts.append(signal_name(job.signal))
    if job.reason and job.reason != job.state:
        parts.append(job.reason)
    return "; ".join(parts)


def describe_state(job: QueuedJob) -> str:
    """Return `running`, `failed: exit 3` or `cancelled (SIGTERM)`."""
    how = how_it_ended(job)
    if not how:
        return job.state
    is_by_signal = job.state == CANCELLED and job.signal is not None
    return f"{job.state} ({how})" if is_by_signal else f"{job.state}: {how}"
