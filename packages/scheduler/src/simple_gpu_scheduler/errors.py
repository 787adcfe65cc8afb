"""The errors a user can meet. Each message says what was expected, what came and what to do."""


class SgsError(Exception):
    """Base of every error that is shown to the user as one line, without a traceback."""


class PassingError(SgsError):
    """Something is lacking that may be there again soon: try again."""


class HopelessError(SgsError):
    """A job can't ever run on the GPUs that are left; others may."""


class UsageError(SgsError):
    """The command line, or a value on it, can't be used; exit status 2."""
