"""What the queue's commands share: which jobs are meant, waiting for news, and showing a job."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.records import Entry
from simple_gpu_scheduler.queue.wrapped_command import own_command

#: Of a number (SQLite's are below 2^63), and of jobs that are named at once.
_MOST_DIGITS, _MOST_JOBS = 18, 10_000_000

#: Between two tries to start a server that can't begin.
_FIRST_PAUSE_S, _LAST_PAUSE_S = 2.0, 60.0


def job_ids(words: Sequence[str]) -> list[int]:
    """Numbers of jobs: `3`, `3 5`, `3,5`, `3-7`.

    Raises:
        UsageError: it isn't that.
    """
    found: list[int] = []
    for word in (part for one in words for part in one.split(",") if part):
        first, dash, last = word.partition("-")
        if not _is_number(first) or (dash and not _is_number(last)):
            raise UsageError(f"{word!r} is no job: expected its number, or several such as 3-7")
        numbers = range(int(first), int(last or first) + 1)
        if not numbers:
            raise UsageError(f"{word!r} names no job: expected the lower number first, as in 3-7")
        if len(found) + len(numbers) > _MOST_JOBS:
            raise UsageError(f"{word!r} are too many jobs: expected {_MOST_JOBS} at most at once")
        found += numbers
    return found


def _is_number(word: str) -> bool:
    if not (word.isascii() and word.isdecimal()):
        return False
    if len(word) > _MOST_DIGITS:
        raise UsageError(f"there is no job {word[:40]} (see sgs status --all)")
    return True


def numbers(jobs: Sequence[int]) -> str:
    """Jobs in words that `job_ids` reads: `3-7, 9, 10`."""
    runs: list[list[int]] = []
    for job in sorted(jobs):
        if runs and job == runs[-1][-1] + 1:
            runs[-1].append(job)
        else:
            runs.append([job])
    return ", ".join(
        f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs
    )


def entries_of(home: QueueHome, words: Sequence[str], group: str | None) -> list[Entry]:
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
        from simple_gpu_scheduler.queue.store.submission import no_job

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
    from simple_gpu_scheduler.queue.changes import QueueNews

    with QueueNews([home.folder, *([also] if also else [])]) as news:
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


def as_object(entry: Entry) -> dict[str, Any]:
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


def how_it_ended(entry: Entry) -> str:
    """`exit 3`, `SIGKILL`, a reason; empty where the state says it all."""
    from simple_gpu_scheduler.pipe.console import signal_name

    ways = []
    if entry.exit_code:
        ways.append(f"exit {entry.exit_code}")
    if entry.signal is not None:
        ways.append(signal_name(entry.signal))
    if entry.reason:
        ways.append(entry.reason)
    return "; ".join(ways)
