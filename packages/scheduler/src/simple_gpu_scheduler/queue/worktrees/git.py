"""Runs git, and makes repositories that keep all bytes as they are.

A repository that another user wrote can name programs in its configuration. Git is called so that
it runs none of those programs, and never uses the network.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.text.printable import shell_word

#: These settings override the user's: no filter, hook or daemon touches the bytes that we store.
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

#: What git prints if objects are missing, and of a repository that another user may have written.
_MISSING = re.compile(r"could not fetch (\w+) from promisor remote")
_NOT_FETCHED = "lazy fetching disabled"
_DUBIOUS = re.compile(r"detected dubious ownership in repository at '(.*)'", re.DOTALL)

#: Git's variables about one repository, as hooks have them (`git rev-parse --local-env-vars`).
_OF_A_REPOSITORY = frozenset(
    b"GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_COMMON_DIR GIT_PREFIX "
    b"GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_NAMESPACE GIT_IMPLICIT_WORK_TREE GIT_GRAFT_FILE "
    b"GIT_SHALLOW_FILE GIT_NO_REPLACE_OBJECTS GIT_REPLACE_REF_BASE GIT_CONFIG".split()
)

#: Git changes no bytes on the way in or out: neither line ends, nor keywords, nor large files.
_ATTRIBUTES = b"* -text -filter -ident !working-tree-encoding\n"


def git(
    arguments: Iterable[str | bytes],
    *,
    cwd: bytes,
    environ: Mapping[bytes, bytes] | None = None,
    data: bytes = b"",
) -> bytes:
    """Run git; returns what it prints.

    Args:
        environ: variables beside our own. Our own variables that name a repository are dropped.
        data: what git reads from its stdin.

    Raises:
        UntrustedError: git refuses a repository of another user.
        MissingError: the repository is a partial clone, and objects would have to be fetched.
        SgsError: git fails or isn't installed; the error has git's own message.
    """
    own_environ = {name: value for name, value in os.environb.items() if not _is_dropped(name)}
    settings = [argument for setting in _OURS for argument in ("-c", setting)]
    try:
        done = subprocess.run(
            ["git", *settings, *arguments],
            cwd=cwd,
            env={**own_environ, **_ALONE, **(environ or {})},
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
    arguments: Iterable[str | bytes],
    *,
    store: bytes,
    environ: Mapping[bytes, bytes] | None = None,
    data: bytes = b"",
) -> bytes:
    """Run git in a bare repository of ours. GIT_DIR names it, as safe.bareRepository may forbid
    that git finds it by itself.

    Raises:
        SgsError: as `git`.
    """
    return git(arguments, cwd=store, environ={b"GIT_DIR": store, **(environ or {})}, data=data)


def _error(text: str, cwd: bytes) -> SgsError:
    """Return an error that says what to do, from what git printed."""
    where = shell_word(os.fsdecode(cwd))
    if dubious := _DUBIOUS.search(text):
        path = shell_word(dubious[1].partition("'\n")[0])
        return UntrustedError(
            f"git doesn't read the repository {path}, as it belongs to another user, who could "
            "have programs run by it; if you trust that user: "
            f"git config --global --add safe.directory {path}"
        )
    missing = _MISSING.search(text)
    if missing or _NOT_FETCHED in text:
        objects = f"object {missing[1]}" if missing else "objects"
        return MissingError(
            f"the repository in {where} is a partial clone and lacks {objects}; sgs fetches "
            "nothing by itself: if you trust it, first run "
            f"git -C {where} fetch --refetch --no-filter"
        )
    lines = text.splitlines() or ["it failed"]
    lines = [line for line in lines if not line.startswith(("warning:", "hint:"))] or lines
    return SgsError(f"git: {lines[0]}")


class UntrustedError(SgsError):
    """A repository that another user may have written."""


class MissingError(SgsError):
    """A repository without all of its objects."""


def _is_dropped(variable: bytes) -> bool:
    """True if git doesn't get a variable. A trace would stand among its errors."""
    return names_a_repository(variable) or variable.startswith(b"GIT_TRACE")


def names_a_repository(variable: bytes) -> bool:
    """True if an environment variable would make git use another repository than its folder's."""
    return variable in _OF_A_REPOSITORY


def paths(listed: bytes) -> list[bytes]:
    """Return the paths that git lists with `-z`."""
    return [path for path in listed.split(b"\0") if path]


def keep_bytes(git_dir: bytes) -> None:
    """Make a repository of ours store and check out all bytes as they are."""
    path = os.path.join(git_dir, b"info", b"attributes")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = path + b".%d" % os.getpid()
    with open(temporary, "wb") as file:
        file.write(_ATTRIBUTES)
    os.replace(temporary, path)
