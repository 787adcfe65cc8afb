"""The shell code that the queue puts before a submitter's command.

A job may be a stored script, or run in a copy of a frozen work tree. Then variables of its
environment hold the shell code for that, and a prefix before its command runs this code. The
prefix is the same for all jobs: it can be removed to show the submitter's own command, and an
earlier version of the server can start such a job as well.
"""

from __future__ import annotations

import os
import shlex

#: A variable with shell code that changes to the job's copy of the work tree, or ends the job.
FREEZE_VARIABLE = b"SGS_FREEZE"

#: A variable with shell code that runs the stored script with `$@`.
SCRIPT_VARIABLE = b"SGS_SCRIPT"

_CHECKOUT = "simple_gpu_scheduler.queue.worktrees.checkout_main"
_FROZEN = b'eval "${SGS_FREEZE:?}"; '
_SCRIPT = b'exec /bin/sh -c "${SGS_SCRIPT:?}" '


def frozen(command: bytes) -> bytes:
    """Return a command that runs in the job's copy of its work tree."""
    return _FROZEN + command


def as_script(arguments: bytes) -> bytes:
    """Return a command that runs the stored script; the shell words begin with its name."""
    return _SCRIPT + arguments


def freeze_code(python: str, folder: str, snapshot: str) -> bytes:
    """Return shell code that changes to the job's copy of the snapshot.

    If there can be no copy, the code ends the job with exit status 125.
    """
    checkout = shlex.join([python, "-m", _CHECKOUT, folder, snapshot])
    return os.fsencode(
        f'SGS_FROZEN=$({checkout} "$SGS_JOB") && SGS_FROZEN=${{SGS_FROZEN%/}} && '
        'export SGS_FROZEN && cd -- "$SGS_FROZEN" || exit 125; unset SGS_FREEZE'
    )


def own_command(command: bytes) -> bytes:
    """Return the command as its submitter wrote it."""
    return command.removeprefix(_FROZEN).removeprefix(_SCRIPT)
