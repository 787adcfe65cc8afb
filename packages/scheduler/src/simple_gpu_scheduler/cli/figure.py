"""Figures. They need matplotlib, which is loaded only for them."""

from __future__ import annotations

import importlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.files.named_paths import open_own_file
from simple_gpu_scheduler.system.fds import write_whole


def pyplot() -> Any:
    """Return `matplotlib.pyplot`, which draws into files.

    Raises:
        SgsError: matplotlib isn't installed.
    """
    try:
        with _in_root_folder():
            matplotlib = importlib.import_module("matplotlib")
    except ImportError:
        raise SgsError(
            "--figure needs matplotlib, which is not installed; install it, or "
            "simple-gpu-scheduler with its extra `simulate`"
        ) from None
    matplotlib.use("Agg")
    return importlib.import_module("matplotlib.pyplot")


@contextmanager
def _in_root_folder() -> Iterator[None]:
    """Change to `/`: matplotlib would obey a configuration that others put into this folder."""
    before = os.open(".", os.O_PATH | os.O_CLOEXEC)
    try:
        os.chdir("/")
        yield
    finally:
        os.fchdir(before)
        os.close(before)


def save(figure: Any, path: str) -> None:
    """Write the figure, in the format of the file's extension, and close it.

    Raises:
        SgsError: the file can't be written.
    """
    try:
        drawn = io.BytesIO()
        figure.savefig(drawn, format=os.path.splitext(path)[1][1:] or None)
        _write(path, drawn.getvalue())
    except (OSError, SgsError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SgsError(f"--figure {path!r} can't be written: {reason}") from None
    finally:
        pyplot().close(figure)


def _write(path: str, data: bytes) -> None:
    opened = open_own_file(path, os.O_WRONLY | os.O_CREAT)
    try:
        if stat.S_ISREG(os.fstat(opened.fd).st_mode):
            os.ftruncate(opened.fd, 0)
        write_whole(opened.fd, data)
    finally:
        opened.close()
