"""Where state is kept from run to run: a user's directory, and in it the queue of each machine."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping
from typing import NamedTuple

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.files.folders import Folder, open_private
from simple_gpu_scheduler.files.trust import UnsafeError
from simple_gpu_scheduler.system.flock import is_on_this_machine

VARIABLE = "SGS_STATE_DIR"
_NAME = "simple-gpu-scheduler"
_LOCAL = "/var/tmp"

#: There anybody may have taken our name before us: then we take the next one.
_MOST_NAMES = 100


class StatePlace(NamedTuple):
    """The user's state directory, and the part of its path that was there before us."""

    path: str
    above: str


def state_place(environ: Mapping[str, str] = os.environ) -> StatePlace:
    """The user's state directory, $SGS_STATE_DIR or by the XDG base directory specification."""
    chosen = environ.get(VARIABLE)
    if chosen:
        path = os.path.abspath(chosen)
        return StatePlace(path, path)
    home = environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return StatePlace(os.path.join(home, _NAME), home)


def queue_place(environ: Mapping[str, str] = os.environ) -> StatePlace:
    """The folder of this machine's queue: homes are often shared by several servers.

    On a file system of a network, where locks may not be trusted, it is in /var/tmp instead.
    """
    place = state_place(environ)
    if not environ.get(VARIABLE) and not is_on_this_machine(place.path):
        place = StatePlace(_local_dir(_LOCAL), _LOCAL)
    return place._replace(path=os.path.join(place.path, "queue", os.uname().nodename))


def open_queue(path: str, above: str) -> Folder:
    """Open the folder of a queue, which is its user's alone; it is made if need be.

    Raises:
        SgsError: it can't be made, others can change what is in it, or have put something there.
    """
    try:
        folder = open_private(path, above=above)
        folder.require_own_names()
    except UnsafeError as error:
        raise SgsError(
            f"the queue can't be kept: {error}; or name another directory by {VARIABLE}"
        ) from None
    except OSError as error:
        raise SgsError(
            f"the queue can't be kept: {error.filename or path} can't be created "
            f"({error.strerror}); name another directory by {VARIABLE}"
        ) from None
    return folder


def _local_dir(parent: str) -> str:
    """Our directory where all users have theirs: the first that is ours, else that is nobody's.

    Who has taken our name there keeps nobody from anything; what he does with it later neither.
    """
    first = os.path.join(parent, f"{_NAME}-{os.geteuid()}")
    numbered = [first, *(f"{first}.{number}" for number in range(1, _MOST_NAMES))]
    free = ""
    for path in (*numbered, *_more_of(first, numbered)):
        try:
            status = os.lstat(path)
        except OSError:
            free = free or path
            continue
        if status.st_uid == os.geteuid():
            return path
    return free or f"{first}.{os.urandom(8).hex()}"


def _more_of(first: str, known: Container[str]) -> list[str]:
    """Others of our name that are there, should all numbers be taken."""
    parent, name = os.path.split(first)
    try:
        found = sorted(one for one in os.listdir(parent) if one.startswith(f"{name}."))
    except OSError:
        return []
    return [path for path in (os.path.join(parent, one) for one in found) if path not in known]
