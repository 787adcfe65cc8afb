"""Removes copies and snapshots that no job needs."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.queue.worktrees.checkout import COPIES, remove_tree
from simple_gpu_scheduler.queue.worktrees.git import bare_git
from simple_gpu_scheduler.queue.worktrees.snapshot import REFS, STORE


def copy_of(folder: str, job: int) -> str | None:
    """Return the top folder of a job's copy; None if it has none."""
    path = os.path.join(folder, os.fsdecode(COPIES), str(job))
    return path if os.path.isdir(path) else None


def remove_copy(folder: str, job: int) -> bool:
    """Remove a job's copy, and incomplete ones; True if there was any.

    Raises:
        SgsError: a copy can't be removed.
    """
    copies = os.path.join(os.fsencode(folder), COPIES)
    removed = False
    try:
        for name in os.listdir(copies) if os.path.isdir(copies) else ():
            if name.partition(b".")[0] == b"%d" % job:
                remove_tree(os.path.join(copies, name))
                removed = True
    except OSError as error:
        raise SgsError(f"the copy of job {job} can't be removed: {error}") from None
    return removed


def copies(folder: str) -> set[int]:
    """Return the jobs that have copies, complete or not."""
    try:
        names = os.listdir(os.path.join(os.fsencode(folder), COPIES))
    except FileNotFoundError:
        return set()
    numbers = (name.partition(b".")[0] for name in names)
    return {int(number) for number in numbers if number.isdigit()}


def remove_snapshots(folder: str, needed: Collection[str]) -> int:
    """Remove all snapshots but those that are needed; returns the number of removed ones.

    Nobody else may use the store meanwhile: hold `in_use(folder, alone=True)`.
    """
    store = os.path.join(os.fsencode(folder), STORE)
    if not os.path.isdir(store):
        return 0
    kept = {snapshot.partition("/")[0] for snapshot in needed}
    listed = bare_git(["for-each-ref", "--format=%(refname)", REFS], store=store).decode().split()
    unneeded = [ref for ref in listed if ref.removeprefix(REFS) not in kept]
    if unneeded:
        _restore_references(store, kept)
        commands = "".join(f"delete {ref}\n" for ref in unneeded)
        bare_git(["update-ref", "--stdin"], store=store, data=commands.encode())
    _remove_temporary(store, indexes=bool(unneeded))
    bare_git(["prune", "--expire=now"], store=store)
    return len(unneeded)


def _remove_temporary(store: bytes, *, indexes: bool) -> None:
    """Remove temporary files of processes that were killed while they took a snapshot.

    Args:
        indexes: also remove the indexes of work trees, as they name objects that will be pruned.
    """
    folder, own = os.path.split(store)
    objects = os.path.join(store, b"objects")
    temporary = [
        os.path.join(objects, name) for name in os.listdir(objects) if name.startswith(b"tmp_")
    ]
    temporary += [
        os.path.join(folder, name)
        for name in os.listdir(folder)
        if name.startswith(own) and name != own
    ]
    for name in os.listdir(store):
        path = os.path.join(store, name)
        if name.startswith(b"index-") and (indexes or os.path.isdir(path)):
            temporary.append(path)
    for path in temporary:
        _remove(path)


def _restore_references(store: bytes, kept: Collection[str]) -> None:
    """Write the needed references again: a power failure may have lost them, but not the objects.

    Without them the objects would be pruned.
    """
    for commit in kept:
        with suppress(SgsError):  # the snapshot was removed before
            bare_git(["update-ref", REFS + commit, commit], store=store)


def _remove(path: bytes) -> None:
    """Remove a file or a folder."""
    if os.path.isdir(path):
        remove_tree(path)
    else:
        os.unlink(path)
