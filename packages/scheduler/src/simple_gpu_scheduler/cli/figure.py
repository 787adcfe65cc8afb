"""Figures, by matplotlib, which is loaded only for them."""

from __future__ import annotations

import importlib
from typing import Any

from simple_gpu_scheduler.errors import SgsError


def pyplot() -> Any:
    """Matplotlib, drawing into files.

    Raises:
        SgsError: it isn't installed.
    """
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError:
        raise SgsError(
            "--figure needs matplotlib, which is not installed; install it, or "
            "simple-gpu-scheduler with its extra `simulate`"
        ) from None
    matplotlib.use("Agg")
    return importlib.import_module("matplotlib.pyplot")


def save(figure: Any, path: str) -> None:
    """Write the figure, in the format that the name of the file says.

    Raises:
        SgsError: it can't be written.
    """
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise SgsError(f"--figure {path!r} can't be written: {error}") from None
    finally:
        pyplot().close(figure)
