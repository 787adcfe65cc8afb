"""Copies and snapshots that no job needs any more go."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.queue.worktrees.checkout import COPIES, remove_tree
from simple_gpu_scheduler.queue.worktrees.git import bare_git
from simple_gpu_scheduler.queue.worktrees.snapshot import REFS, STORE


def copy_of(folder: str, job: int) -> str | None:
    """The copy that a job runs in, or ran in, from its top; None if there is none."""
    path = os.path.join(folder, os.fsdecode(COPIES), str(job))
    return path if os.path.isdir(path) else None


def remove_copy(folder: str, job: int) -> bool:
    """Remove a job's copy, and what was left of those that came to nothing; True if it had one.

    Raises:
        SgsError: it can't be removed.
    """
    copies = os.path.join(os.fsencode(folder), COPIES)
    found = False
    try:
        for name in os.listdir(copies) if os.path.isdir(copies) else ():
            if name.partition(b".")[0] == b"%d" % job:
                remove_tree(os.path.join(copies, name))
                found = True
    except OSError as error:
        raise SgsError(f"the copy of job {job} can't be removed: {error}") from None
    return found


def copies(folder: str) -> set[int]:
    """The jobs of which there are copies, or what was left of some that came to nothing."""
    try:
        names = os.listdir(os.path.join(os.fsencode(folder), COPIES))
    except FileNotFoundError:
        return set()
    numbers = (name.partition(b".")[0] for name in names)
    return {int(number) for number in numbers if number.isdigit()}


def remove_snapshots(folder: str, needed: Collection[str]) -> int:
    """Remove all snapshots but those that are needed; returns how many went.

    Nobody else may use the store meanwhile.
    """
    store = os.path.join(os.fsencode(folder), STORE)
    if not os.path.isdir(store):
        return 0
    kept = {snapshot.partition("/")[0] for snapshot in needed}
    listed = bare_git(["for-each-ref", "--format=%(refname)", REFS], store=store).decode().split()
    gone = [ref for ref in listed if ref.removeprefix(REFS) not in kept]
    if gone:
        _keep_references(store, kept)
        orders = "".join(f"delete {ref}\n" for ref in gone)
        bare_git(["update-ref", "--stdin"], store=store, data=orders.encode())
    _remove_torn(store, indexes=bool(gone))
    bare_git(["prune", "--expire=now"], store=store)
    return len(gone)


def _remove_torn(store: bytes, *, indexes: bool) -> None:
    """What those have left who were killed while they took a snapshot; their objects are pruned.

    Args:
        indexes: also those of work trees; they tell of objects that won't be there.
    """
    folder, own = os.path.split(store)
    objects = os.path.join(store, b"objects")
    torn = [
        os.path.join(objects, name) for name in os.listdir(objects) if name.startswith(b"tmp_")
    ]
    torn += [
        os.path.join(folder, name)
        for name in os.listdir(folder)
        if name.startswith(own) and name != own
    ]
    for name in os.listdir(store):
        path = os.path.join(store, name)
        if name.startswith(b"index-") and (indexes or os.path.isdir(path)):
            torn.append(path)
    for path in torn:
        _remove(path)


def _keep_references(store: bytes, kept: Collection[str]) -> None:
    """A loss of power may have taken references, never what they name."""
    for commit in kept:
        with suppress(SgsError):  # it was removed before
            bare_git(["update-ref", REFS + commit, commit], store=store)


def _remove(path: bytes) -> None:
    """Remove whatever it is."""
    if os.path.isdir(path):
        remove_tree(path)
    else:
        os.unlink(path)
