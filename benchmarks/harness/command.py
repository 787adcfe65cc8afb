"""What the commands share: options, errors in words, where files go."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import BenchmarkError
from .guard import Tally
from .peers import default_ours
from .progress import Progress


def comma_separated(known: Sequence[str] | None = None) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        for name in names:
            if known is not None and name not in known:
                raise argparse.ArgumentTypeError(
                    f"unknown name {name!r}; one of {', '.join(known)}"
                )
        return names

    return parse


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def add_ours(parser: argparse.ArgumentParser) -> None:
    """The options that say which of our own packages are measured."""
    parser.add_argument(
        "--ours",
        type=Path,
        metavar="DIR",
        default=default_ours(),
        help="measure the commands in DIR (default: those beside this interpreter)",
    )
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="COMMIT",
        help="also measure our package as it was at COMMIT; may be given more than once",
    )


def words_for_ours(options: argparse.Namespace) -> list[str]:
    """These options again, without the paths of this machine."""
    words = ["--ours", "DIR"] if options.ours != default_ours() else []
    return [*words, *(word for commit in options.against for word in ("--against", commit))]


def run(
    options: argparse.Namespace, measure: Callable[[argparse.Namespace, Progress], int]
) -> int:
    """Measure, with errors and interrupts in words; returns the exit status."""
    signal.signal(signal.SIGTERM, interrupt)  # so that what was started is stopped
    progress = Progress()
    try:
        return measure(options, progress)
    except BenchmarkError as error:
        progress.clear()
        print(f"benchmarks: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        progress.clear()
        print("benchmarks: interrupted", file=sys.stderr)
        return 130


def interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def memory_folder() -> Path | None:
    """Where stamps are kept: in memory, so that no disk is measured, if the system has that."""
    folder = Path("/dev/shm")
    return folder if folder.is_dir() else None


def go_realtime() -> None:
    """Puts this process, and so all that it starts, before everything with normal priority."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        raise BenchmarkError("--realtime needs root (or CAP_SYS_NICE)") from None


def advice(tally: Tally) -> str:
    busy = tally.kept_disturbed > tally.measured / 4
    return ". **The machine was busy: differences of times mean little here**" if busy else ""
