"""Runs the commands of `sgs submit --notify` when jobs have ended.

A command is run at least once: it is recorded as run only after its start.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.queue.records import QueuedJob
from simple_gpu_scheduler.queue.server.processes import log_path
from simple_gpu_scheduler.queue.store.jobs import QueueStore
from simple_gpu_scheduler.queue.wrapped_command import own_command
from simple_gpu_scheduler.system.failpoints import step

_LOG = "notify.log"

#: Errors that may pass: there is no process, memory or descriptor left now.
_PASSING = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


class Notifier:
    """Runs the commands of ended jobs, as children of the server."""

    def __init__(self, folder: str, store: QueueStore, log: Callable[[str], None]) -> None:
        """`log` writes a line to the server's log."""
        self._folder = folder
        self._store = store
        self._log = log
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def poll(self) -> bool:
        """Run the commands of jobs that have ended; False if one has to be run later."""
        try:
            entries = self._store.to_notify()
            notified = [entry.id for entry in entries if self._run(entry)]
            if notified:
                step("notifying")
                self._store.mark_notified(notified)
        except SgsError as error:
            self._log(f"error: submitters can't be notified: {error}")
            return True  # the next write of the server tries again
        return len(notified) == len(entries)

    def on_child_ended(self, pid: int) -> None:
        """Forget a child that the server has reaped."""
        child = self._children.pop(pid, None)
        if child is not None:
            child.returncode = 0  # else `subprocess` would wait for it

    def _run(self, entry: QueuedJob) -> bool:
        """Start the command of a job; False if there is no room for a process now."""
        context = self._store.context(entry.context)
        log_fd = None
        try:
            log_fd = self._open_log()
            child = subprocess.Popen(
                [b"/bin/sh", b"-c", entry.notify or b""],
                cwd=context.cwd if os.path.isdir(context.cwd) else b"/",
                env={**dict(context.environ), **_variables(entry, self._folder)},
                stdin=subprocess.DEVNULL,
                stdout=log_fd,
                stderr=log_fd,
                start_new_session=True,
            )
            self._children[child.pid] = child
        except OSError as error:
            if error.errno in _PASSING:
                return False
            self._log(f"job {entry.id}: --notify can't be run: {error.strerror}")
        finally:
            if log_fd is not None:
                os.close(log_fd)
        return True

    def _open_log(self) -> int:
        """Open the log of the commands' output, or /dev/null if there is no room for a log."""
        path = os.path.join(self._folder, _LOG)
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError:
            return os.open(os.devnull, os.O_WRONLY)


def _variables(entry: QueuedJob, folder: str) -> dict[bytes, bytes]:
    """Return the variables that tell the command about the job."""
    code = entry.exit_code if entry.signal is None else 128 + entry.signal
    texts = {
        "SGS_JOB": str(entry.id),
        "SGS_STATE": entry.state,
        "SGS_EXIT_CODE": "" if code is None else str(code),
        "SGS_REASON": entry.reason,
        "SGS_NAME": entry.name,
        "SGS_GROUP": entry.group,
        "SGS_LOG": log_path(folder, entry.id, entry.attempt) if entry.attempt else "",
    }
    variables = {name.encode(): os.fsencode(text) for name, text in texts.items()}
    return {**variables, b"SGS_COMMAND": own_command(entry.command)}
