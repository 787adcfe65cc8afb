"""Where the installed commands begin: nothing is loaded before an interrupt can be answered."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_INTERRUPTED = 128 + 2


def simple_gpu_scheduler() -> int:
    """The command of that name."""
    return _run("run.command")


def simple_hypersearch() -> int:
    """The command of that name."""
    return _run("search")


def sgs() -> int:
    """The command of that name."""
    return _run("sgs")


def _run(module: str) -> int:
    try:
        from importlib import import_module

        main: Callable[[], int] = import_module(f"simple_gpu_scheduler.cli.{module}").main
        return main()
    except KeyboardInterrupt:
        return _INTERRUPTED
