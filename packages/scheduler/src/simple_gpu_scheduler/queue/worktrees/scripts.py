"""Texts of scripts, kept by content beside the queue's file: who edits a script changes no job."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Collection
from contextlib import suppress

from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.files.fsync import sync
from simple_gpu_scheduler.jobs.script_header import parse_interpreter
from simple_gpu_scheduler.text.printable import shell_word

_FOLDER = "scripts"
_MOST_BYTES = 1 << 24


def read_script(path: str) -> bytes:
    """The text of a script.

    Raises:
        UsageError: it can't be read, or is no text.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"the script {path!r} can't be read: {reason}") from None
    if not text or b"\0" in text or len(text) > _MOST_BYTES:
        what = "is empty" if not text else "is no text, or a very long one"
        raise UsageError(f"{path!r} {what}; as a command: sgs submit -- {shell_word(path)}")
    return text


def keep_script(folder: str, text: bytes) -> bytes:
    """Keep a text, on the disk when this returns; returns shell code that runs it with `$@`.

    Whoever the first line names as interpreter is called with it, so that nothing has to be
    executable there.

    It stays until a job names it, as long as it is `in_use`.

    Args:
        folder: the queue's.

    Raises:
        SgsError: it can't be written.
    """
    scripts = os.path.join(folder, _FOLDER)
    path = os.path.join(scripts, hashlib.sha256(text).hexdigest())
    try:
        os.makedirs(scripts, mode=0o700, exist_ok=True)
        if not os.path.exists(path):
            _write(path, text)
        sync(scripts)
        sync(folder)
    except OSError as error:
        raise SgsError(
            f"the script can't be kept in {scripts}: {error.strerror}; nothing was accepted"
        ) from None
    words = [*map(os.fsdecode, parse_interpreter(text)), path]
    return os.fsencode(f'exec {shlex.join(words)} "$@"')


def remove_scripts(folder: str, needed: Collection[str]) -> int:
    """Remove the texts that aren't needed, by their names; returns how many went.

    Nobody may keep one meanwhile.
    """
    scripts = os.path.join(folder, _FOLDER)
    try:
        gone = [name for name in os.listdir(scripts) if name not in needed]
        for name in gone:
            os.unlink(os.path.join(scripts, name))
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise SgsError(f"scripts in {scripts} can't be removed: {error.strerror}") from None
    return sum("." not in name for name in gone)  # the others were never whole


def _write(path: str, text: bytes) -> None:
    """Either whole or not at all, whoever else writes the same."""
    mine = f"{path}.{os.getpid()}"
    fd = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o700)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(mine, path)
    except OSError:
        with suppress(OSError):
            os.unlink(mine)
        raise
