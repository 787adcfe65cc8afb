"""The errors a user can meet. Each message says what was expected, what came and what to do."""

from __future__ import annotations

from simple_gpu_scheduler.text.printable import printable


class SgsError(Exception):
    """Base of every error that is shown to the user as one line, without a traceback."""

    def __str__(self) -> str:
        """The message, which may quote what others wrote: it can do no terminal harm."""
        return printable(super().__str__())


class PassingError(SgsError):
    """Something is lacking that may be there again soon: try again."""


class CrowdedError(PassingError):
    """Our own jobs have used up something: it is there again once one of them has ended."""


class HopelessError(SgsError):
    """A job can't ever run, as on the GPUs that are left; others may."""


class UsageError(SgsError):
    """The command line, or a value on it, can't be used; exit status 2."""
