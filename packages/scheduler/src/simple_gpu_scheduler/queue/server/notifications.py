"""Tells submitters that their jobs have ended, by the commands that they have named for that.

A command is run at least once: what is known of it is written down after its start.
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

#: There is no process, memory or descriptor for it now.
_PASSING = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


class Notifier:
    """Runs the commands of `sgs submit --notify`."""

    def __init__(self, folder: str, store: QueueStore, say: Callable[[str], None]) -> None:
        """`say` writes a line to the server's log."""
        self._folder = folder
        self._store = store
        self._say = say
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def poll(self) -> bool:
        """Run the commands of jobs that have ended; False if one is to be run later."""
        try:
            meant = self._store.to_notify()
            told = [one.id for one in meant if self._run(one)]
            if told:
                step("notifying")
                self._store.notified(told)
        except SgsError as error:
            self._say(f"error: submitters can't be notified: {error}")
            return True  # as it is when the server has something to write again
        return len(told) == len(meant)

    def reap(self, pid: int) -> None:
        """A child has ended."""
        child = self._children.pop(pid, None)
        if child is not None:
            child.returncode = 0  # it was waited for

    def _run(self, entry: QueuedJob) -> bool:
        """False if there is no room for its process now."""
        context = self._store.context(entry.context)
        environ = {**dict(context.environ), **_about(entry, self._folder)}
        log_fd = None
        try:
            log_fd = self._log()
            child = subprocess.Popen(
                [b"/bin/sh", b"-c", entry.notify or b""],
                cwd=context.cwd if os.path.isdir(context.cwd) else b"/",
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log_fd,
                stderr=log_fd,
                start_new_session=True,
            )
            self._children[child.pid] = child
        except OSError as error:
            if error.errno in _PASSING:
                return False
            self._say(f"job {entry.id}: --notify can't be run: {error.strerror}")
        finally:
            if log_fd is not None:
                os.close(log_fd)
        return True

    def _log(self) -> int:
        """Where the commands print; nowhere if there is no room."""
        path = os.path.join(self._folder, _LOG)
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError:
            return os.open(os.devnull, os.O_WRONLY)


def _about(entry: QueuedJob, folder: str) -> dict[bytes, bytes]:
    """What the command is told."""
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
    about = {name.encode(): os.fsencode(text) for name, text in texts.items()}
    return {**about, b"SGS_COMMAND": own_command(entry.command)}
