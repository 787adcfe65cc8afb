"""Points at which a test can kill the process, to check that nothing is lost there.

`SGS_DIE_AT=STEP:FILE` kills the first process that reaches the step, and creates FILE.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

VARIABLE = "SGS_DIE_AT"
_CHOSEN_STEP, _, _FILE = os.environ.get(VARIABLE, "").partition(":")


def step(name: str) -> None:
    """Die here if the test has chosen this step and no process has died at it yet."""
    if name == _CHOSEN_STEP:
        with suppress(FileExistsError):
            os.close(os.open(_FILE, os.O_CREAT | os.O_EXCL))
            os.kill(os.getpid(), signal.SIGKILL)
