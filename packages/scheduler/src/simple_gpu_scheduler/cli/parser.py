"""The parser of every command: what is wrong with a command line is an error like any other."""

from __future__ import annotations

import argparse
from typing import NoReturn

from simple_gpu_scheduler.errors import UsageError


class Parser(argparse.ArgumentParser):
    """Raises where argparse would print and exit."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where more is said.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{message} (see {self.prog} --help)")
