"""Makes a job's own copy of a snapshot before it starts. Retries use it again.

The copy is also a repository, at the commit that the work tree was based on, so that the job can
print which commit that was. `sgs clean` removes the copy.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import mkdtemp
from typing import Any
from urllib.parse import unquote_to_bytes

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.queue.worktrees.git import bare_git, git, keep_bytes
from simple_gpu_scheduler.queue.worktrees.snapshot import STORE
from simple_gpu_scheduler.queue.worktrees.usage_lock import in_use

COPIES = b"frozen"
_CONFIG = b"[core]\n\trepositoryformatversion = 0\n\tbare = false\n"
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+ ")


def checkout(folder: str, snapshot: str, job: int) -> str:
    """Make a job's copy if there is none; returns the folder in it in which the job runs.

    The copy is complete or not there, even if this is killed, or runs twice at the same time.

    Args:
        folder: the queue's.
        snapshot: as `take_snapshot` has returned it.
        job: the job's number.

    Raises:
        SgsError: the copy can't be made.
    """
    commit, _, sub = snapshot.partition("/")
    copies = os.path.join(os.fsencode(folder), COPIES)
    copy = os.path.join(copies, b"%d" % job)
    try:
        with in_use(folder):
            os.makedirs(copies, mode=0o700, exist_ok=True)
            if not os.path.isdir(copy):
                _make(os.path.join(os.fsencode(folder), STORE), commit, copy)
        cwd = os.path.join(copy, unquote_to_bytes(sub)) if sub else copy
        os.makedirs(cwd, exist_ok=True)
    except OSError as error:
        raise SgsError(f"the copy of the work tree can't be made: {error}") from None
    return os.fsdecode(cwd)


def remove_tree(path: bytes) -> None:
    """Remove a folder of ours, even if a job has removed the write permission.

    Raises:
        OSError: it can't be removed.
    """
    with suppress(FileNotFoundError):
        try:
            shutil.rmtree(path)
        except PermissionError:
            for place, _, _ in os.walk(path):
                os.chmod(place, stat.S_IRWXU)
            shutil.rmtree(path)


def _make(store: bytes, commit: str, copy: bytes) -> None:
    temporary, fd = _make_temporary(copy)
    try:
        _fill(store, commit, temporary)
        os.rename(temporary, copy)
    except BaseException as error:
        remove_tree(temporary)
        if not isinstance(error, OSError) or not os.path.isdir(copy):  # another was faster
            raise
    finally:
        os.close(fd)


def _make_temporary(copy: bytes) -> tuple[bytes, int]:
    """Make a temporary folder for a copy; returns it with a descriptor that locks it.

    Temporary folders without a lock are removed: whoever made them was killed.
    """
    folder, name = os.path.split(copy)
    with _locked(folder):
        for other in os.listdir(folder):
            if other.startswith(name + b"."):
                _remove_if_unlocked(os.path.join(folder, other))
        temporary = mkdtemp(prefix=name + b".", dir=folder)
        fd = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(fd, fcntl.LOCK_EX)
    return temporary, fd


def _remove_if_unlocked(path: bytes) -> None:
    # Without a lock at once, somebody fills the folder; without a folder, it was just renamed.
    with suppress(FileNotFoundError, BlockingIOError), _locked(path, fcntl.LOCK_NB):
        remove_tree(path)


@contextmanager
def _locked(folder: bytes, flags: int = 0) -> Iterator[None]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | flags)
        yield
    finally:
        os.close(fd)


def _fill(store: bytes, commit: str, copy: bytes) -> None:
    """Write the files of a snapshot, and links to what git ignores in the user's work tree."""
    description = _read_description(store, commit)
    _make_repository(store, description, copy, commit)
    git(["read-tree", "--reset", "-u", commit], cwd=copy)
    top = os.fsencode(description["top"])
    for link in map(os.fsencode, description["links"]):
        path = os.path.join(copy, link.rstrip(b"/"))
        if not os.path.lexists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(os.path.join(top, link.rstrip(b"/")), path)


def _read_description(store: bytes, commit: str) -> dict[str, Any]:
    """Return what `take_snapshot` has written in the commit's message."""
    try:
        text = bare_git(["cat-file", "commit", commit], store=store)
    except (SgsError, FileNotFoundError):
        raise SgsError(
            "the snapshot isn't there any more (was it removed by sgs clean?)"
        ) from None
    description: dict[str, Any] = json.loads(text.partition(b"\n\n")[2])
    return description


def _make_repository(store: bytes, description: dict[str, Any], copy: bytes, commit: str) -> None:
    """Make the copy a repository that reads its objects from the store and the user's repository.

    Its HEAD is the commit that the work tree was based on, if both use the same kind of hashes.
    """
    git_dir = os.path.join(copy, b".git")
    for name in (b"refs", b"objects/info"):
        os.makedirs(os.path.join(git_dir, name))
    head: str | None = description["head"]
    if head is not None and len(head) != len(commit):
        head = None
    places = [os.path.join(store, b"objects"), os.fsencode(description["objects"])]
    texts = {
        b"HEAD": head.encode() + b"\n" if head else b"ref: refs/heads/main\n",
        b"config": _CONFIG,
        b"objects/info/alternates": b"".join(map(_quoted, places[: 2 if head else 1])),
    }
    for name, text in texts.items():
        with open(os.path.join(git_dir, name), "wb") as file:
            file.write(text)
    keep_bytes(git_dir)


def _quoted(path: bytes) -> bytes:
    """Return a line of the file of alternates. Unusual bytes are quoted as in C."""
    if _PLAIN.issuperset(path):
        return path + b"\n"
    return b'"' + b"".join(b"\\%03o" % byte for byte in path) + b'"\n'
