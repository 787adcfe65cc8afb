"""Events for programs: one JSON object a line."""

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
    """Implements `ports.Listener`; each event is one write."""

    def __init__(self, fd: int, wall_s: Callable[[], float]) -> None:
        self._fd = fd
        self._wall_s = wall_s
        self._broken = False

    def on_event(self, event: Event) -> None:
        """Write the event, if programs are told of it.

        Raises:
            SgsError: it can't be written.
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
    """A descriptor for `--json FILE`; FILE may be a FIFO or /dev/fd/N.

    Raises:
        UsageError: it can't be written.
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
    """What a program is told; None for what is only for people."""
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
                "leftover_pids": [left.pid for left in event.leftovers],
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
    """What is known of an ended attempt, as result.json and the `ended` event have it.

    Undecodable bytes of the command stand as lone surrogates (PEP 383).
    """
    one, done = event.running, event.exit
    return {
        "seq": one.job.seq,
        "command": os.fsdecode(one.job.command),
        "exit_code": done.exit_code,
        "signal": done.signal,
        "timed_out": one.timed_out,
        "aborted": event.aborted,
        "attempt": one.job.attempt,
        "gpus": list(one.gpus),
        "started": round(one.started_wall_s, 3),
        "ended": round(one.started_wall_s + event.runtime_s, 3),
        "runtime_s": round(event.runtime_s, 3),
        "user_s": round(done.user_s, 3),
        "system_s": round(done.system_s, 3),
        "max_rss_mib": round(done.max_rss_mib, 1),
        "vram_mib": one.job.memory_mib,
        "peak_vram_mib": event.peak_vram_mib,
        "other_gpus": list(event.other_gpus),
    }
