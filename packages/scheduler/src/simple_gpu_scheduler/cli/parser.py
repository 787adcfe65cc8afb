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

    def __init__(self, prog: str, description: str, epilog: str | None = None) -> None:
        """Make a parser whose description and epilog are printed as they are."""
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


_MOST = 10**9


def whole(least: int, most: int = _MOST) -> Callable[[str], int]:
    """Return a function that reads a whole number from `least` to `most`, for `type=`."""

    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most:
            return int(text)
        bounds = f"{least} or more" if most == _MOST else f"{least} to {most}"
        raise argparse.ArgumentTypeError(f"expected a whole number, {bounds}, not {text[:40]!r}")

    return read
