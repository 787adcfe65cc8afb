"""The entry points of the installed commands. ^C ends them quietly, even while modules load."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_INTERRUPTED = 128 + 2


def simple_gpu_scheduler() -> int:
    """Run the command `simple_gpu_scheduler`; return its exit status."""
    return _run("run.command")


def simple_hypersearch() -> int:
    """Run the command `simple_hypersearch`; return its exit status."""
    return _run("search")


def sgs() -> int:
    """Run the command `sgs`; return its exit status."""
    return _run("sgs")


def _run(module: str) -> int:
    try:
        from importlib import import_module

        main: Callable[[], int] = import_module(f"simple_gpu_scheduler.cli.{module}").main
        return main()
    except KeyboardInterrupt:
        return _INTERRUPTED
