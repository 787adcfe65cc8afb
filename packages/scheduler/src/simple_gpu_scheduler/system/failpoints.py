"""Where a test may want a process to die, to see that nothing is lost there.

`SGS_DIE_AT=STEP:FILE` kills the process that first comes to the step, and FILE then says so.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

VARIABLE = "SGS_DIE_AT"
_CHOSEN = os.environ.get(VARIABLE, "").partition(":")


def step(name: str) -> None:
    """We have come to this step."""
    if _CHOSEN[0] == name:
        with suppress(FileExistsError):
            os.close(os.open(_CHOSEN[2], os.O_CREAT | os.O_EXCL))
            os.kill(os.getpid(), signal.SIGKILL)
