"""The parser of every command: what is wrong with a command line is an error like any other."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from simple_gpu_scheduler.errors import UsageError


class _Shown(BaseException):
    """Carries a parser to whoever wants to see it."""


class Parser(argparse.ArgumentParser):
    """Raises where argparse would print and exit."""

    _is_shown = False

    def _get_formatter(self) -> argparse.HelpFormatter:
        """Left to itself, argparse loads shutil at every start, just to know the width."""
        formatter: Any = self.formatter_class
        made: argparse.HelpFormatter = formatter(prog=self.prog, width=_columns() - 2)
        return made

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where more is said.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{message} (see {self.prog} --help)")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does."""
        if Parser._is_shown:
            raise _Shown(self)
        return super().parse_known_args(args, namespace)


def _columns() -> int:
    """As wide as the terminal, or $COLUMNS, but no wider than what is read easily."""
    try:
        return min(int(os.environ.get("COLUMNS") or os.get_terminal_size(1).columns), 100)
    except (OSError, ValueError):
        return 100


def parser_of(command: Callable[[Sequence[str]], object]) -> argparse.ArgumentParser | None:
    """The parser by which a command reads its arguments; it does nothing else. None: it has none.

    So whatever is told of a command's options comes from where they are defined.
    """
    Parser._is_shown = True
    try:
        command([])
    except _Shown as shown:
        parser: argparse.ArgumentParser = shown.args[0]
        return parser
    finally:
        Parser._is_shown = False
    return None


_MOST = 10**9


def whole(least: int, most: int = _MOST) -> Callable[[str], int]:
    """Reads a whole number within these bounds."""

    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most:
            return int(text)
        bounds = f"{least} or more" if most == _MOST else f"{least} to {most}"
        raise argparse.ArgumentTypeError(f"expected a whole number, {bounds}, not {text[:40]!r}")

    return read
