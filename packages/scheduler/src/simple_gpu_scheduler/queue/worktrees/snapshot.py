"""Takes snapshots of git work trees, and keeps them in a store beside the queue's file.

A snapshot has all files that git doesn't ignore, tracked or not, also those of submodules and
other repositories within the tree. Their bytes are stored as they are: no filter of git changes
them, so a pointer to a large file stays a pointer. Files that git ignores (data, environments,
results) are not stored; the copy gets links to them. The user's repository is only read.

The name of a snapshot is `COMMIT` or `COMMIT/SUB%20FOLDER`: a commit of the store, which is the
same for the same files, and the folder in which the job was submitted.
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

#: From so many MiB on, untracked files may be there by mistake.
_LARGE_MIB = 100

_NOBODY = {
    b"GIT_AUTHOR_NAME": b"sgs", b"GIT_AUTHOR_EMAIL": b"sgs", b"GIT_AUTHOR_DATE": b"@0 +0000",
    b"GIT_COMMITTER_NAME": b"sgs", b"GIT_COMMITTER_EMAIL": b"sgs",
    b"GIT_COMMITTER_DATE": b"@0 +0000",
}  # fmt: skip


class _Files(NamedTuple):
    """The files of a work tree, as paths from its top."""

    tracked: list[bytes]
    untracked: list[bytes]
    ignored: list[bytes]  #: a folder stands for its files if all of them are ignored


def take_snapshot(folder: str, cwd: bytes, warn: Callable[[str], None] = lambda text: None) -> str:
    """Take a snapshot of the work tree around a folder; returns its name. Then it is on the disk.

    Args:
        folder: the queue's.
        cwd: a folder in the work tree.
        warn: called with a text if the snapshot may be larger than meant.

    Raises:
        UsageError: the folder is in no work tree.
        SgsError: the snapshot can't be kept.
    """
    try:
        top = git(["rev-parse", "--show-toplevel"], cwd=cwd).removesuffix(b"\n")
    except UntrustedError:
        raise
    except SgsError as error:
        raise UsageError(
            f"--freeze needs a git work tree, but {os.fsdecode(cwd)!r} is not inside a readable "
            f"git work tree ({error})"
        ) from None
    sub = os.path.relpath(os.path.realpath(cwd), os.path.realpath(top))
    if sub.split(b"/")[0] == b"..":
        raise UsageError(
            f"--freeze needs a git work tree, and the repository of {os.fsdecode(cwd)!r} has its "
            f"work tree elsewhere, in {os.fsdecode(top)!r} (core.worktree)"
        )
    queue_folder = os.fsencode(folder)
    files = _list_files(top, top)
    files = _without_ours(files, os.path.relpath(os.path.realpath(queue_folder), top))
    _warn_of_large(top, files.untracked, warn)
    try:
        commit = _store(queue_folder, top, files)
    except OSError as error:
        raise SgsError(f"the work tree can't be kept: {error.strerror}") from None
    return commit if sub == b"." else f"{commit}/{quote_from_bytes(sub)}"


def open_store(folder: bytes) -> bytes:
    """Return the path of the store; create it if there is none."""
    store = os.path.join(folder, STORE)
    if not os.path.isdir(store):
        with TemporaryDirectory(dir=folder, prefix=STORE) as temporary:
            git(["init", "-q", "--bare", "--template=", "new"], cwd=temporary)
            keep_bytes(os.path.join(temporary, b"new"))
            os.chmod(os.path.join(temporary, b"new"), stat.S_IRWXU)  # whatever our umask is
            _move(os.path.join(temporary, b"new"), store)
    return store


def _move(new: bytes, store: bytes) -> None:
    try:
        os.rename(new, store)
    except OSError:
        if not os.path.isdir(store):  # else another process was faster
            raise


# list the files


def _list_files(top: bytes, tree: bytes) -> _Files:
    """List the files of a work tree, and of repositories within it, as paths from the top."""
    command = ["ls-files", "-z", "--exclude-standard"]
    tracked = dict.fromkeys(paths(git(["ls-files", "-z", "--cached"], cwd=tree)))
    untracked = paths(git([*command, "--others"], cwd=tree))
    ignored = paths(git([*command, "--others", "--ignored", "--directory"], cwd=tree))
    files = _Files([], [], [])
    for kind, names in zip(files, (tracked, untracked, ignored), strict=True):
        for name in names:
            path = os.path.join(tree, name)
            if kind is files.ignored or not _is_folder(path):
                kind.append(os.path.relpath(path, top))
            elif os.path.lexists(os.path.join(path, b".git")):
                for outer, inner in zip(files, _list_files(top, path), strict=True):
                    outer += inner
    return files


def _is_folder(path: bytes) -> bool:
    return os.path.isdir(path) and not os.path.islink(path.rstrip(b"/"))


def _without_ours(files: _Files, queue_folder: bytes) -> _Files:
    """Leave out the queue's folder, which may be in the tree, and files that Python compiles."""
    prefix = queue_folder + b"/"
    tracked, untracked = (
        [path for path in kind if not path.startswith(prefix)] for kind in files[:2]
    )
    ignored = [
        path
        for path in files.ignored
        if not path.startswith(prefix)
        and os.path.basename(path) != b"__pycache__"
        and not path.endswith(b".pyc")
    ]
    return _Files(tracked, untracked, ignored)


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


# store them


def _store(folder: bytes, top: bytes, files: _Files) -> str:
    """Make a commit of the files; returns its name. Its message says what else the copy needs."""
    store = open_store(folder)
    with TemporaryDirectory(dir=store, prefix=b"index-") as temporary:
        tree = _write_tree(store, top, [*files.tracked, *files.untracked], temporary)
    description = {
        "top": os.fsdecode(top), "links": [os.fsdecode(path) for path in files.ignored]
    }  # fmt: skip
    message = json.dumps(description | _origin(top), indent=1).encode()
    output = bare_git(["commit-tree", tree], store=store, environ=_NOBODY, data=message)
    commit = output.decode().strip()
    if not bare_git(["for-each-ref", REFS + commit], store=store):
        sync_all(os.fsdecode(store))
        bare_git(["update-ref", REFS + commit, commit], store=store)
    return commit


def _write_tree(store: bytes, top: bytes, names: list[bytes], temporary: bytes) -> str:
    """Write the files as a tree of the store; returns its name.

    The store keeps an index for each work tree. So only files that have changed since the last
    snapshot are read.
    """
    index = os.path.join(temporary, b"index")
    last_index = os.path.join(store, b"index-" + hashlib.sha256(top).hexdigest().encode())
    with suppress(FileNotFoundError):
        shutil.copy2(last_index, index)  # with its time, which git compares with the files' times
    environ = {b"GIT_DIR": store, b"GIT_WORK_TREE": top, b"GIT_INDEX_FILE": index}
    removed = set(paths(git(["ls-files", "-z"], cwd=top, environ=environ))).difference(names)
    update = ["update-index", "-z"]
    if removed:
        git([*update, "--force-remove", "--stdin"], cwd=top, environ=environ, data=_z(removed))
    git(
        [*update, "--add", "--remove", "--replace", "--stdin"],
        cwd=top,
        environ=environ,
        data=_z(names),
    )
    tree = git(["write-tree"], cwd=top, environ=environ).decode().strip()
    with suppress(FileNotFoundError):  # an empty tree has no index
        os.replace(index, last_index)
    return tree


def _z(names: set[bytes] | list[bytes]) -> bytes:
    """Return names as git reads them with `-z`."""
    return b"".join(name + b"\0" for name in names)


def _origin(top: bytes) -> dict[str, str | None]:
    """Return the commit that the work tree is based on, and the folder of its objects."""
    try:
        head = git(["rev-parse", "--verify", "-q", "HEAD^{commit}"], cwd=top).decode().strip()
    except MissingError:
        raise
    except SgsError:
        head = None  # the repository has no commit yet
    objects = git(["rev-parse", "--git-path", "objects"], cwd=top).removesuffix(b"\n")
    return {"head": head, "objects": os.fsdecode(os.path.join(top, objects))}
