"""What the queue's commands share: which jobs are meant, waiting for news, and showing a job."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.job_ids import job_ids
from simple_gpu_scheduler.queue.records import QueuedJob
from simple_gpu_scheduler.queue.wrapped_command import own_command

#: Between two tries to start a server that can't begin.
_FIRST_PAUSE_S, _LAST_PAUSE_S = 2.0, 60.0


def entries_of(home: QueueHome, words: Sequence[str], group: str | None) -> list[QueuedJob]:
    """The jobs that are meant.

    Raises:
        UsageError: none are, or there is no such job.
    """
    if group is not None:
        found = home.store.entries(group=group)
        if not found:
            raise UsageError(f"there is no job of the group {group!r}")
        return found
    ids = job_ids(words)
    if not ids:
        raise UsageError("no job is named; expected the number of one, or --group")
    found = home.store.entries(jobs=ids)
    missing = sorted(set(ids) - {one.id for one in found})
    if missing:
        from simple_gpu_scheduler.queue.store.dependencies import no_job

        told = no_job(home.store.file.database, missing[0])
        raise UsageError(f"{told}; see sgs status --all")
    return found


def wait_for_news(home: QueueHome, is_over: Callable[[], bool], also: str | None = None) -> None:
    """Look again whenever the queue's file changes, until it is over.

    A server that was killed meanwhile is followed by another one; one that can't begin is tried
    again ever more rarely.

    Args:
        also: another folder in which a change is news.
    """
    from simple_gpu_scheduler.queue.changes import QueueChanges

    with QueueChanges([home.folder, *([also] if also else [])]) as news:
        pause_s, next_s = _FIRST_PAUSE_S, 0.0
        while not is_over():
            if home.server_pid() is not None:
                pause_s = _FIRST_PAUSE_S
                news.wait()
            elif (left_s := next_s - time.monotonic()) > 0:
                news.wait(left_s)
            else:
                home.wake()
                pause_s, next_s = min(2 * pause_s, _LAST_PAUSE_S), time.monotonic() + pause_s


def as_object(entry: QueuedJob) -> dict[str, Any]:
    """What --json prints of a job."""
    return {
        "id": entry.id,
        "state": entry.state,
        "exit_code": entry.exit_code,
        "signal": entry.signal,
        "reason": entry.reason or None,
        "command": own_command(entry.command).decode(errors="replace"),
        "name": entry.name or None,
        "group": entry.group or None,
        "key": entry.key,
        "priority": entry.priority,
        "gpus": list(entry.gpu_names),
        "gpus_asked": entry.gpus,
        "vram_mib": entry.memory_mib,
        "snapshot": entry.snapshot or None,
        "attempt": entry.attempt,
        "submitted": entry.submitted_s,
        "started": entry.started_s,
        "ended": entry.ended_s,
    }


def how_it_ended(entry: QueuedJob) -> str:
    """`exit 3`, `SIGKILL`, a reason; empty where the state says it all."""
    from simple_gpu_scheduler.text.terminal import signal_name

    ways = []
    if entry.exit_code:
        ways.append(f"exit {entry.exit_code}")
    if entry.signal is not None:
        ways.append(signal_name(entry.signal))
    if entry.reason:
        ways.append(entry.reason)
    return "; ".join(ways)
