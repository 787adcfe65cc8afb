"""The errors that users see. Each message says what was expected, what came and what to do."""

from __future__ import annotations

from simple_gpu_scheduler.text.printable import printable


class SgsError(Exception):
    """Base of every error that is shown to the user as one line, without a traceback."""

    def __str__(self) -> str:
        """The message, escaped: it may quote text of other users, which could harm a terminal."""
        return printable(super().__str__())


class PassingError(SgsError):
    """Something is lacking for now: trying again later may succeed."""


class CrowdedError(PassingError):
    """Our own jobs have used up something: trying again may succeed once one of them has ended."""


class HopelessError(SgsError):
    """This job can never run, for example because too few GPUs are left; other jobs still may."""


class UsageError(SgsError):
    """The command line, or an argument, can't be used. Commands then end with exit status 2."""
