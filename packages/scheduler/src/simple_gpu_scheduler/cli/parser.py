"""The parser of every command: a wrong command line is an error like any other."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from simple_gpu_scheduler.errors import UsageError


class _ParserFound(BaseException):
    """Carries a parser to the caller of `parser_of`."""


class Parser(argparse.ArgumentParser):
    """A parser that raises where argparse would print and exit.

    Options can't be abbreviated: a new option would break scripts that rely on a prefix.
    """

    _is_searched = False  #: by `parser_of`

    def __init__(self, prog: str, description: str, epilog: str | None = None, **_: Any) -> None:
        """Make a parser whose description and epilog are printed as they are.

        What argparse passes besides to a sub-parser (since Python 3.14, whether it has colours) is
        ignored.
        """
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def _get_formatter(self) -> argparse.HelpFormatter:
        """Return a formatter of our width; argparse would load shutil at each start for it."""
        formatter: Any = self.formatter_class
        made: argparse.HelpFormatter = formatter(prog=self.prog, width=_columns() - 2)
        return made

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and which help to read.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{message} (see {self.prog} --help)")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does."""
        if Parser._is_searched:
            raise _ParserFound(self)
        return super().parse_known_args(args, namespace)


def _columns() -> int:
    """The width of the terminal, or $COLUMNS, but at most 100."""
    try:
        return min(int(os.environ.get("COLUMNS") or os.get_terminal_size(1).columns), 100)
    except (OSError, ValueError):
        return 100


def parser_of(command: Callable[[Sequence[str]], object]) -> argparse.ArgumentParser | None:
    """Return the parser of a command without running the command; None if it has none.

    So the completion knows each option from the place that defines it.
    """
    Parser._is_searched = True
    try:
        command([])
    except _ParserFound as error:
        parser: argparse.ArgumentParser = error.args[0]
        return parser
    finally:
        Parser._is_searched = False
    return None


_MOST = 10**9  #: the largest number that an option may have


def gpu_count(advice: str = "", most: int = 4096) -> Callable[[str], int]:
    """Return a function that reads a number of GPUs, for `type=`.

    Args:
        advice: how to choose GPUs by their ids, which users may try here.
    """

    def read(text: str) -> int:
        try:
            return whole(1, most)(text)
        except argparse.ArgumentTypeError:
            hint = f"; {advice}" if advice else ""
            raise argparse.ArgumentTypeError(
                f"expected a number of GPUs, {_bounds(1, most)}, not {text[:40]!r}{hint}"
            ) from None

    return read


#: How to choose ids where `--gpus` is a number: in `sgs lease` and `explain`, and in the queue.
BY_ON = "to choose GPU ids use: --on 0,1"
BY_SERVER = "GPU ids are set by: sgs server start --gpus 0,1"


def whole(least: int, most: int = _MOST) -> Callable[[str], int]:
    """Return a function that reads a whole number from `least` to `most`, for `type=`."""

    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most:
            return int(text)
        bounds = _bounds(least, most)
        raise argparse.ArgumentTypeError(f"expected a whole number, {bounds}, not {text[:40]!r}")

    return read


def _bounds(least: int, most: int) -> str:
    return f"{least} or more" if most == _MOST else f"{least} to {most}"
