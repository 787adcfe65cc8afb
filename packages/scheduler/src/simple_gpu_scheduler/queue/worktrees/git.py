"""Git as a program: what it prints, or why it failed; and repositories that keep all bytes.

A repository that somebody else wrote can name programs in its configuration. Git is asked only for
what it knows by itself: none of those programs is run, and no network is reached.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.text.printable import shell_word

#: Whatever the user has configured: no filter, hook or daemon comes near the bytes that we store.
_OURS = (
    "core.hooksPath=/dev/null", "core.fsmonitor=false", "core.untrackedCache=false",
    "core.splitIndex=false", "core.protectHFS=false", "core.protectNTFS=false",
    "core.looseCompression=1", "core.fsync=loose-object,reference", "core.fsyncMethod=batch",
    "core.fsyncObjectFiles=true", "core.sparseCheckout=false", "gc.auto=0",
    "submodule.recurse=false", "protocol.allow=never", "fetch.bundleURI=",
)  # fmt: skip

#: A partial clone gets missing objects from elsewhere, by programs that its configuration names
#: (ssh, proxies, helpers). Git before 2.39.4 doesn't know the first of these. The second allows no
#: way at all to get them, and beats `protocol.NAME.allow` in the repository's configuration.
_ALONE = {
    b"GIT_NO_LAZY_FETCH": b"1", b"GIT_ALLOW_PROTOCOL": b"", b"GIT_TERMINAL_PROMPT": b"0",
    b"GIT_OPTIONAL_LOCKS": b"0", b"LC_ALL": b"C",
}  # fmt: skip

#: What it says then, and of a repository that another user may have written.
_MISSING = re.compile(r"could not fetch (\w+) from promisor remote")
_NOT_FETCHED = "lazy fetching disabled"
_DUBIOUS = re.compile(r"detected dubious ownership in repository at '(.*)'", re.DOTALL)

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
        UntrustedError: it refuses a repository of another user.
        MissingError: the repository is a partial clone, and objects would have to be fetched.
        SgsError: it fails, in its own words, or isn't there.
    """
    ours = {k: v for k, v in os.environb.items() if not _is_dropped(k)}
    settings = [word for setting in _OURS for word in ("-c", setting)]
    try:
        done = subprocess.run(
            ["git", *settings, *words],
            cwd=cwd,
            env={**ours, **_ALONE, **(environ or {})},
            input=data,
            capture_output=True,
            check=False,
        )
    except OSError as error:
        raise SgsError(f"git can't be run: {error.strerror}") from None
    if done.returncode:
        raise _error(done.stderr.decode(errors="surrogateescape").strip(), cwd)
    return done.stdout


def bare_git(
    words: Iterable[str | bytes],
    *,
    store: bytes,
    environ: Mapping[bytes, bytes] | None = None,
    data: bytes = b"",
) -> bytes:
    """Run git in a bare repository of ours, which is named to it: some have it look for none
    (safe.bareRepository).

    Raises:
        SgsError: as `git`.
    """
    return git(words, cwd=store, environ={b"GIT_DIR": store, **(environ or {})}, data=data)


def _error(said: str, cwd: bytes) -> SgsError:
    where = shell_word(os.fsdecode(cwd))
    if dubious := _DUBIOUS.search(said):
        path = shell_word(dubious[1].partition("'\n")[0])
        return UntrustedError(
            f"git doesn't read the repository {path}, as it belongs to another user, who could "
            "have programs run by it; if you trust that user: "
            f"git config --global --add safe.directory {path}"
        )
    missing = _MISSING.search(said)
    if missing or _NOT_FETCHED in said:
        what = f"object {missing[1]}" if missing else "objects"
        return MissingError(
            f"the repository in {where} is a partial clone and lacks {what}; sgs fetches nothing "
            f"by itself: if you trust it, first run git -C {where} fetch --refetch --no-filter"
        )
    lines = said.splitlines() or ["it failed"]
    lines = [line for line in lines if not line.startswith(("warning:", "hint:"))] or lines
    return SgsError(f"git: {lines[0]}")


class UntrustedError(SgsError):
    """A repository that another user may have written."""


class MissingError(SgsError):
    """A repository without all of its objects."""


def _is_dropped(variable: bytes) -> bool:
    """Whether git doesn't get a variable; traces would stand among its errors."""
    return names_a_repository(variable) or variable.startswith(b"GIT_TRACE")


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
