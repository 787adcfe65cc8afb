"""A git work tree as it is now, kept by content in a store of our own beside the queue's file.

All that git doesn't ignore goes into the store, tracked or not, as the bytes that are there: no
filter of git's changes them, so that large files which are pointers stay pointers. What is in
submodules and other repositories within the tree goes in as well. The user's repository is only
read. What git ignores (data, environments, results) isn't kept: where the copy will need it, it
gets links to it.

A snapshot is `COMMIT` or `COMMIT/SUB%20FOLDER`: a commit of the store, which is the same for the
same state, and the folder within the tree that was submitted from.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.parse import quote_from_bytes

from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.files.fsync import sync_all
from simple_gpu_scheduler.queue.worktrees.git import (
    MissingError,
    UntrustedError,
    bare_git,
    git,
    keep_bytes,
    paths,
)
from simple_gpu_scheduler.units.sizes import format_memory

STORE = b"snapshots.git"
REFS = "refs/snapshots/"

#: So much of what isn't tracked may have been left there by mistake.
_LARGE_MIB = 100

_NOBODY = {
    b"GIT_AUTHOR_NAME": b"sgs", b"GIT_AUTHOR_EMAIL": b"sgs", b"GIT_AUTHOR_DATE": b"@0 +0000",
    b"GIT_COMMITTER_NAME": b"sgs", b"GIT_COMMITTER_EMAIL": b"sgs",
    b"GIT_COMMITTER_DATE": b"@0 +0000",
}  # fmt: skip


class _Found(NamedTuple):
    """Paths within a work tree."""

    tracked: list[bytes]
    untracked: list[bytes]
    ignored: list[bytes]  #: folders as a whole where all in them is


def take_snapshot(folder: str, cwd: bytes, warn: Callable[[str], None] = lambda text: None) -> str:
    """Keep the work tree that a folder is in, on the disk when this returns; returns its name.

    Args:
        folder: the queue's.
        cwd: somewhere in the work tree.
        warn: is told of what may not be meant.

    Raises:
        UsageError: the folder is in no work tree.
        SgsError: it can't be kept.
    """
    try:
        top = git(["rev-parse", "--show-toplevel"], cwd=cwd).removesuffix(b"\n")
    except UntrustedError:
        raise
    except SgsError as error:
        raise UsageError(
            f"--freeze needs a git work tree, and {os.fsdecode(cwd)!r} is in none that can be "
            f"read ({error})"
        ) from None
    sub = os.path.relpath(os.path.realpath(cwd), os.path.realpath(top))
    if sub.split(b"/")[0] == b"..":
        raise UsageError(
            f"--freeze needs a git work tree, and the repository of {os.fsdecode(cwd)!r} has its "
            f"work tree elsewhere, in {os.fsdecode(top)!r} (core.worktree)"
        )
    ours = os.fsencode(folder)
    found = _without(_found(top, top), os.path.relpath(os.path.realpath(ours), top))
    _warn_of_large(top, found.untracked, warn)
    try:
        commit = _keep(ours, top, found)
    except OSError as error:
        raise SgsError(f"the work tree can't be kept: {error.strerror}") from None
    return commit if sub == b"." else f"{commit}/{quote_from_bytes(sub)}"


def open_store(folder: bytes) -> bytes:
    """The store, which is created if need be."""
    store = os.path.join(folder, STORE)
    if not os.path.isdir(store):
        with TemporaryDirectory(dir=folder, prefix=STORE) as mine:
            git(["init", "-q", "--bare", "--template=", "new"], cwd=mine)
            keep_bytes(os.path.join(mine, b"new"))
            os.chmod(os.path.join(mine, b"new"), stat.S_IRWXU)  # whatever our umask
            _move(os.path.join(mine, b"new"), store)
    return store


def _move(ours: bytes, store: bytes) -> None:
    try:
        os.rename(ours, store)
    except OSError:
        if not os.path.isdir(store):  # else somebody was faster
            raise


# what is there


def _found(top: bytes, tree: bytes) -> _Found:
    """What git lists of a work tree, and of those within it, as paths from the top."""
    listed = ["ls-files", "-z", "--exclude-standard"]
    tracked = dict.fromkeys(paths(git(["ls-files", "-z", "--cached"], cwd=tree)))
    untracked = paths(git([*listed, "--others"], cwd=tree))
    ignored = paths(git([*listed, "--others", "--ignored", "--directory"], cwd=tree))
    found = _Found([], [], [])
    for kind, names in zip(found, (tracked, untracked, ignored), strict=True):
        for name in names:
            path = os.path.join(tree, name)
            if kind is found.ignored or not _is_folder(path):
                kind.append(os.path.relpath(path, top))
            elif os.path.lexists(os.path.join(path, b".git")):
                for own, its in zip(found, _found(top, path), strict=True):
                    own += its
    return found


def _is_folder(path: bytes) -> bool:
    return os.path.isdir(path) and not os.path.islink(path.rstrip(b"/"))


def _without(found: _Found, ours: bytes) -> _Found:
    """Leave out the queue itself, should it be in the tree, and what Python makes by itself."""
    within = ours + b"/"
    tracked, untracked = (
        [path for path in kind if not path.startswith(within)] for kind in found[:2]
    )
    ignored = [
        path
        for path in found.ignored
        if not path.startswith(within)
        and os.path.basename(path) != b"__pycache__"
        and not path.endswith(b".pyc")
    ]
    return _Found(tracked, untracked, ignored)


def _warn_of_large(top: bytes, untracked: list[bytes], warn: Callable[[str], None]) -> None:
    sizes = dict(_sizes(top, untracked))
    total_mib = sum(sizes.values()) >> 20
    if total_mib >= _LARGE_MIB:
        largest = max(sizes, key=lambda path: sizes[path])
        warn(
            f"--freeze keeps {format_memory(total_mib)} in {len(sizes)} files that git doesn't "
            f"track, the largest is {os.fsdecode(largest)!r}; what isn't needed may be named in "
            ".gitignore, or in .git/info/exclude"
        )


def _sizes(top: bytes, names: list[bytes]) -> Iterator[tuple[bytes, int]]:
    for name in names:
        with suppress(OSError):
            yield name, os.lstat(os.path.join(top, name)).st_size


# how it is kept


def _keep(folder: bytes, top: bytes, found: _Found) -> str:
    store = open_store(folder)
    with TemporaryDirectory(dir=store, prefix=b"index-") as mine:
        tree = _written_tree(store, top, [*found.tracked, *found.untracked], mine)
    about = {"top": os.fsdecode(top), "links": [os.fsdecode(path) for path in found.ignored]}
    message = json.dumps(about | _origin(top), indent=1).encode()
    written = bare_git(["commit-tree", tree], store=store, environ=_NOBODY, data=message)
    commit = written.decode().strip()
    if not bare_git(["for-each-ref", REFS + commit], store=store):
        sync_all(os.fsdecode(store))
        bare_git(["update-ref", REFS + commit, commit], store=store)
    return commit


def _written_tree(store: bytes, top: bytes, names: list[bytes], mine: bytes) -> str:
    """The tree of these files. What they were the last time is in a index of the store."""
    index = os.path.join(mine, b"index")
    kept = os.path.join(store, b"index-" + hashlib.sha256(top).hexdigest().encode())
    with suppress(FileNotFoundError):
        shutil.copy2(kept, index)  # git compares its time with that of the files
    environ = {b"GIT_DIR": store, b"GIT_WORK_TREE": top, b"GIT_INDEX_FILE": index}
    gone = set(paths(git(["ls-files", "-z"], cwd=top, environ=environ))).difference(names)
    update = ["update-index", "-z"]
    if gone:
        git([*update, "--force-remove", "--stdin"], cwd=top, environ=environ, data=_z(gone))
    git(
        [*update, "--add", "--remove", "--replace", "--stdin"],
        cwd=top,
        environ=environ,
        data=_z(names),
    )
    tree = git(["write-tree"], cwd=top, environ=environ).decode().strip()
    with suppress(FileNotFoundError):  # an empty tree
        os.replace(index, kept)
    return tree


def _z(names: set[bytes] | list[bytes]) -> bytes:
    return b"".join(name + b"\0" for name in names)


def _origin(top: bytes) -> dict[str, str | None]:
    """The commit that the work tree is based on, and where its objects are."""
    try:
        head = git(["rev-parse", "--verify", "-q", "HEAD^{commit}"], cwd=top).decode().strip()
    except MissingError:
        raise
    except SgsError:
        head = None  # there is none yet
    objects = git(["rev-parse", "--git-path", "objects"], cwd=top).removesuffix(b"\n")
    return {"head": head, "objects": os.fsdecode(os.path.join(top, objects))}
