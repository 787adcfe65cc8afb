"""Events for other programs: one JSON object a line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.files.named_paths import open_own_file
from simple_gpu_scheduler.files.trust import UnsafeError
from simple_gpu_scheduler.pipe.events import Ended, Event, Finished, Notice, Rejected, Skipped
from simple_gpu_scheduler.policy.model import Running
from simple_gpu_scheduler.system.fds import write_whole


class EventStream:
    """Implements `pipe.ports.Listener`; each event is one write."""

    def __init__(self, fd: int, wall_s: Callable[[], float]) -> None:
        """`wall_s` returns the time in seconds since 1970."""
        self._fd = fd
        self._wall_s = wall_s
        self._broken = False

    def on_event(self, event: Event) -> None:
        """Write the event, unless it is only for people.

        Raises:
            SgsError: The event can't be written; later ones are dropped.
        """
        record = event_record(event)
        if record is None or self._broken:
            return
        line = json.dumps({"time": round(self._wall_s(), 3), **record}) + "\n"
        try:
            write_whole(self._fd, line.encode())
        except OSError as error:
            self._broken = True
            raise SgsError(f"--json: the events can't be written: {error.strerror}") from None


def open_events(path: str) -> int:
    """Open the file of `--json FILE`, which may be a FIFO or /dev/fd/N; return its descriptor.

    Raises:
        UsageError: The file can't be written.
    """
    try:
        opened = open_own_file(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    except UnsafeError as error:
        raise UsageError(f"--json {path!r} can't be used: {error}; name another file") from None
    except OSError as error:
        raise UsageError(f"--json {path!r} can't be written: {error.strerror}") from None
    opened.folder.close()
    return opened.fd


def event_record(event: Event) -> dict[str, Any] | None:
    """The JSON object for an event; None if the event is only for people."""
    match event:
        case Running(job, gpus, pid):
            return {
                "event": "started",
                "seq": job.seq,
                "command": os.fsdecode(job.command),
                "gpus": list(gpus),
                "pid": pid,
                "attempt": job.attempt,
            }
        case Ended():
            return {
                "event": "ended",
                **result_record(event),
                "retry": event.retry,
                "aborted": event.aborted,
                "leftover_pids": [leftover.pid for leftover in event.leftovers],
            }
        case Rejected(seq, command, reason):
            return {
                "event": "rejected",
                "seq": seq,
                "command": os.fsdecode(command),
                "reason": reason,
            }
        case Skipped(seq):
            return {"event": "skipped", "seq": seq}
        case Notice(text):
            return {"event": "notice", "text": text}
        case Finished(counts, exit_status):
            return {"event": "finished", **counts._asdict(), "exit_status": exit_status}
    return None


def result_record(event: Ended) -> dict[str, Any]:
    """The JSON object for an ended attempt, in result.json and in the `ended` event.

    Bytes of the command that are not UTF-8 become lone surrogates (PEP 383).
    """
    running, exit_ = event.running, event.exit
    return {
        "seq": running.job.seq,
        "command": os.fsdecode(running.job.command),
        "exit_code": exit_.exit_code,
        "signal": exit_.signal,
        "timed_out": running.timed_out,
        "aborted": event.aborted,
        "attempt": running.job.attempt,
        "gpus": list(running.gpus),
        "started": round(running.started_wall_s, 3),
        "ended": round(running.started_wall_s + event.runtime_s, 3),
        "runtime_s": round(event.runtime_s, 3),
        "user_s": round(exit_.user_s, 3),
        "system_s": round(exit_.system_s, 3),
        "max_rss_mib": round(exit_.max_rss_mib, 1),
        "vram_mib": running.job.memory_mib,
        "peak_vram_mib": event.peak_vram_mib,
        "other_gpus": list(event.other_gpus),
    }
