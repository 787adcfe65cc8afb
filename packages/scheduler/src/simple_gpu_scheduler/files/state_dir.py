"""Where state is kept between runs: the user's directory, with the queue of each machine."""

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

#: In /var/tmp another user may have taken our name: then the next one is tried.
_MOST_NAMES = 100


class StatePlace(NamedTuple):
    """A folder for state."""

    path: str
    above: str  #: the part of the path that the user has chosen


def state_place(environ: Mapping[str, str] = os.environ) -> StatePlace:
    """Return the user's state directory: $SGS_STATE_DIR, or by the XDG specification."""
    named = environ.get(VARIABLE)
    if named:
        path = os.path.abspath(named)
        return StatePlace(path, path)
    home = environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return StatePlace(os.path.join(home, _NAME), home)


def queue_place(environ: Mapping[str, str] = os.environ) -> StatePlace:
    """Return the folder of this machine's queue: several machines may share a home.

    If the home is on a network file system, whose locks can't be trusted, it is in /var/tmp.
    """
    place = state_place(environ)
    if not environ.get(VARIABLE) and not is_on_this_machine(place.path):
        place = StatePlace(_find_local_dir(_LOCAL), _LOCAL)
    return place._replace(path=os.path.join(place.path, "queue", os.uname().nodename))


def open_queue(path: str, above: str) -> Folder:
    """Open the folder of a queue, which only its user can use; it is made if need be.

    Raises:
        SgsError: It can't be made, or other users can change it or have put something there.
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


def _find_local_dir(parent: str) -> str:
    """Return our directory in one that all users share: the first that is ours, or unused.

    So another user who takes our name can't stop us, neither now nor later.
    """
    first = os.path.join(parent, f"{_NAME}-{os.geteuid()}")
    numbered = [first, *(f"{first}.{number}" for number in range(1, _MOST_NAMES))]
    unused = ""
    for path in (*numbered, *_find_more(first, numbered)):
        try:
            status = os.lstat(path)
        except OSError:
            unused = unused or path
            continue
        if status.st_uid == os.geteuid():
            return path
    return unused or f"{first}.{os.urandom(8).hex()}"


def _find_more(first: str, numbered: Container[str]) -> list[str]:
    """Existing directories with other suffixes: one may be ours if all numbers are taken."""
    parent, prefix = os.path.split(first)
    try:
        names = sorted(name for name in os.listdir(parent) if name.startswith(f"{prefix}."))
    except OSError:
        return []
    paths = (os.path.join(parent, name) for name in names)
    return [path for path in paths if path not in numbered]
