"""Where state is kept from run to run: a user's directory, and in it the queue of each machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from simple_gpu_scheduler.adapters.file_locks import is_on_this_machine
from simple_gpu_scheduler.errors import SgsError

VARIABLE = "SGS_STATE_DIR"
_NAME = "simple-gpu-scheduler"


def state_dir(environ: Mapping[str, str] = os.environ) -> str:
    """The user's state directory, $SGS_STATE_DIR or by the XDG base directory specification."""
    chosen = environ.get(VARIABLE)
    if chosen:
        return os.path.abspath(chosen)
    home = environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(home, _NAME)


def queue_dir(environ: Mapping[str, str] = os.environ) -> str:
    """The folder of this machine's queue: homes are often shared by several servers.

    On a file system of a network, where locks may not be trusted, it is in /var/tmp instead.
    """
    folder = state_dir(environ)
    if not environ.get(VARIABLE) and not is_on_this_machine(folder):
        folder = os.path.join("/var/tmp", f"{_NAME}-{os.getuid()}")
    return os.path.join(folder, "queue", os.uname().nodename)


def open_queue_dir(path: str) -> None:
    """Create the folder, for its user alone.

    Raises:
        SgsError: it can't be created, or is somebody else's.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        status = os.stat(path)
    except OSError as error:
        raise SgsError(
            f"the queue can't be kept: {path} can't be created ({error.strerror}); name another "
            f"directory by {VARIABLE}"
        ) from None
    if status.st_uid != os.geteuid():
        raise SgsError(
            f"the queue can't be kept: {path} belongs to another user; name another directory by "
            f"{VARIABLE}"
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        os.chmod(path, 0o700)
