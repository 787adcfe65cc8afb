"""Keeps the texts of submitted scripts, so that editing a script changes no job."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Collection
from contextlib import suppress

from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.files.fsync import sync
from simple_gpu_scheduler.jobs.script_header import parse_interpreter
from simple_gpu_scheduler.jobs.validation import BYTE_ORDER_MARK
from simple_gpu_scheduler.text.printable import shell_word

_FOLDER = "scripts"
_MOST_BYTES = 1 << 24


def read_script(path: str) -> bytes:
    """Return the text of a script.

    Raises:
        UsageError: it can't be read, is empty, or is no text.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(_MOST_BYTES + 1).removeprefix(BYTE_ORDER_MARK)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"the script {path!r} can't be read: {reason}") from None
    if not text or b"\0" in text or len(text) > _MOST_BYTES:
        problem = "is empty" if not text else "is no text, or a very long one"
        raise UsageError(f"{path!r} {problem}; as a command: sgs submit -- {shell_word(path)}")
    return text


def keep_script(folder: str, text: bytes) -> bytes:
    """Keep a text; returns shell code that runs it with `$@`. Then it is on the disk.

    The code calls the interpreter of the first line, so the file needn't be executable. Hold
    `in_use` until a job names the text, else `sgs clean` may remove it.

    Args:
        folder: the queue's.
        text: of the script.

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
    command = [*map(os.fsdecode, parse_interpreter(text)), path]
    return os.fsencode(f'exec {shlex.join(command)} "$@"')


def remove_scripts(folder: str, needed: Collection[str]) -> int:
    """Remove all texts but the needed ones; returns the number of removed ones.

    Nobody else may keep a text meanwhile: hold `in_use(folder, alone=True)`.

    Raises:
        SgsError: a text can't be removed.
    """
    scripts = os.path.join(folder, _FOLDER)
    try:
        unneeded = [name for name in os.listdir(scripts) if name not in needed]
        for name in unneeded:
            os.unlink(os.path.join(scripts, name))
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise SgsError(f"scripts in {scripts} can't be removed: {error.strerror}") from None
    return sum("." not in name for name in unneeded)  # names with a dot are incomplete files


def _write(path: str, text: bytes) -> None:
    """Write a file completely or not at all, even if another process writes the same one."""
    temporary = f"{path}.{os.getpid()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o700)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        raise
