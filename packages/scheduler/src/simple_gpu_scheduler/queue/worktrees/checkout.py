"""A job's own copy of a snapshot: made before it starts, kept for retries, gone by `sgs clean`.

The copy is a repository as well, at the commit that the work tree was based on, so that a job can
say which that was; it is nobody's work tree but the job's.
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
    """See that a job has its copy; returns the folder in it that the job is to run in.

    Whoever is killed meanwhile, and whoever else does the same: the copy is whole or not there.

    Args:
        folder: the queue's.

    Raises:
        SgsError: it can't be made.
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
    """Remove a folder of ours, also where a job took away the right to.

    Raises:
        OSError: it can't be.
    """
    with suppress(FileNotFoundError):
        try:
            shutil.rmtree(path)
        except PermissionError:
            for place, _, _ in os.walk(path):
                os.chmod(place, stat.S_IRWXU)
            shutil.rmtree(path)


def _make(store: bytes, commit: str, copy: bytes) -> None:
    mine, fd = _begin(copy)
    try:
        _fill(store, commit, mine)
        os.rename(mine, copy)
    except BaseException as error:
        remove_tree(mine)
        if not isinstance(error, OSError) or not os.path.isdir(copy):  # somebody was faster
            raise
    finally:
        os.close(fd)


def _begin(copy: bytes) -> tuple[bytes, int]:
    """A new folder, locked by whoever fills it; what those have left who were killed goes."""
    folder, name = os.path.split(copy)
    with _locked(folder):
        for other in os.listdir(folder):
            if other.startswith(name + b"."):
                _remove_torn(os.path.join(folder, other))
        mine = mkdtemp(prefix=name + b".", dir=folder)
        fd = os.open(mine, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(fd, fcntl.LOCK_EX)
    return mine, fd


def _remove_torn(path: bytes) -> None:
    with suppress(FileNotFoundError, BlockingIOError), _locked(path, fcntl.LOCK_NB):
        remove_tree(path)  # else somebody is at it, or has just done with it


@contextmanager
def _locked(folder: bytes, how: int = 0) -> Iterator[None]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | how)
        yield
    finally:
        os.close(fd)


def _fill(store: bytes, commit: str, mine: bytes) -> None:
    about = _about(store, commit)
    _make_repository(store, about, mine, commit)
    git(["read-tree", "--reset", "-u", commit], cwd=mine)
    top = os.fsencode(about["top"])
    for link in map(os.fsencode, about["links"]):
        path = os.path.join(mine, link.rstrip(b"/"))
        if not os.path.lexists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(os.path.join(top, link.rstrip(b"/")), path)


def _about(store: bytes, commit: str) -> dict[str, Any]:
    try:
        text = bare_git(["cat-file", "commit", commit], store=store)
    except (SgsError, FileNotFoundError):
        raise SgsError(
            "the snapshot isn't there any more (was it removed by sgs clean?)"
        ) from None
    about: dict[str, Any] = json.loads(text.partition(b"\n\n")[2])
    return about


def _make_repository(store: bytes, about: dict[str, Any], mine: bytes, commit: str) -> None:
    own = os.path.join(mine, b".git")
    for name in (b"refs", b"objects/info"):
        os.makedirs(os.path.join(own, name))
    head = about["head"] if about["head"] and len(about["head"]) == len(commit) else None
    places = [os.path.join(store, b"objects"), os.fsencode(about["objects"])]
    texts = {
        b"HEAD": head.encode() + b"\n" if head else b"ref: refs/heads/main\n",
        b"config": _CONFIG,
        b"objects/info/alternates": b"".join(map(_quoted, places[: 2 if head else 1])),
    }
    for name, text in texts.items():
        with open(os.path.join(own, name), "wb") as file:
            file.write(text)
    keep_bytes(own)


def _quoted(path: bytes) -> bytes:
    """A line of a file of alternates, where git understands C's way to write odd bytes."""
    if _PLAIN.issuperset(path):
        return path + b"\n"
    return b'"' + b"".join(b"\\%03o" % byte for byte in path) + b'"\n'
