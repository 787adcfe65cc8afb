"""Git as a program: what it prints, or why it failed; and repositories that keep all bytes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping

from simple_gpu_scheduler.errors import SgsError

#: Whatever the user has configured: no filter, hook or daemon comes near the bytes that we store.
_OURS = (
    "core.hooksPath=/dev/null", "core.fsmonitor=false", "core.untrackedCache=false",
    "core.splitIndex=false", "core.protectHFS=false", "core.protectNTFS=false",
    "core.looseCompression=1", "core.fsync=loose-object,reference", "core.fsyncMethod=batch",
    "core.fsyncObjectFiles=true", "core.sparseCheckout=false", "gc.auto=0",
)  # fmt: skip

#: Its variables that are about one repository, as hooks have them (`--local-env-vars`).
_OF_A_REPOSITORY = frozenset(
    b"GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_COMMON_DIR GIT_PREFIX "
    b"GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_NAMESPACE GIT_IMPLICIT_WORK_TREE GIT_GRAFT_FILE "
    b"GIT_SHALLOW_FILE GIT_NO_REPLACE_OBJECTS GIT_REPLACE_REF_BASE GIT_CONFIG".split()
)

#: No bytes are changed on the way in or out: neither line ends, nor keywords, nor large files.
_ATTRIBUTES = b"* -text -filter -ident !working-tree-encoding\n"


def git(
    words: Iterable[str | bytes],
    *,
    cwd: bytes,
    environ: Mapping[bytes, bytes] | None = None,
    data: bytes = b"",
) -> bytes:
    """Run git; returns what it prints.

    Args:
        environ: beside our own, but for what names a repository.

    Raises:
        SgsError: it fails, in its own words, or isn't there.
    """
    ours = {k: v for k, v in os.environb.items() if not names_a_repository(k)}
    fixed = {b"GIT_OPTIONAL_LOCKS": b"0", b"LC_ALL": b"C"}
    settings = [word for setting in _OURS for word in ("-c", setting)]
    try:
        done = subprocess.run(
            ["git", *settings, *words],
            cwd=cwd,
            env={**ours, **fixed, **(environ or {})},
            input=data,
            capture_output=True,
            check=False,
        )
    except OSError as error:
        raise SgsError(f"git can't be run: {error.strerror}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it failed"]
        said = [line for line in said if not line.startswith(("warning:", "hint:"))] or said
        raise SgsError(f"git: {said[0]}")
    return done.stdout


def names_a_repository(variable: bytes) -> bool:
    """Whether an environment variable would tell git of another repository than where it is."""
    return variable in _OF_A_REPOSITORY


def paths(listed: bytes) -> list[bytes]:
    """What `-z` lists."""
    return [path for path in listed.split(b"\0") if path]


def keep_bytes(git_dir: bytes) -> None:
    """Have a repository of ours take all bytes as they are."""
    path = os.path.join(git_dir, b"info", b"attributes")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    mine = path + b".%d" % os.getpid()
    with open(mine, "wb") as file:
        file.write(_ATTRIBUTES)
    os.replace(mine, path)
