"""How a command is kept that is more than what its submitter wrote: what comes before it.

A job that was submitted as a script, or runs in a copy of a frozen work tree, is started by shell
code in its environment: what stands before its own command is the same for all jobs, so that the
rest can be shown, and a server of an earlier version starts it as well.
"""

from __future__ import annotations

import os
import shlex

#: Shell code that goes to the job's copy of the work tree, or ends the job.
FREEZE_VARIABLE = b"SGS_FREEZE"

#: Shell code that runs the stored text with `$@`.
SCRIPT_VARIABLE = b"SGS_SCRIPT"

_CHECKOUT = "simple_gpu_scheduler.queue.worktrees.checkout_main"
_FROZEN = b'eval "${SGS_FREEZE:?}"; '
_SCRIPT = b'exec /bin/sh -c "${SGS_SCRIPT:?}" '


def frozen(command: bytes) -> bytes:
    """The command in the job's copy of its work tree."""
    return _FROZEN + command


def as_script(words: bytes) -> bytes:
    """A stored script, by its name and arguments as words of a shell."""
    return _SCRIPT + words


def freeze_code(python: str, folder: str, snapshot: str) -> bytes:
    """The shell code that goes to the job's copy of the snapshot, or ends the job with 125."""
    words = shlex.join([python, "-m", _CHECKOUT, folder, snapshot])
    return os.fsencode(
        f'SGS_FROZEN=$({words} "$SGS_JOB") && SGS_FROZEN=${{SGS_FROZEN%/}} && export SGS_FROZEN '
        '&& cd -- "$SGS_FROZEN" || exit 125; unset SGS_FREEZE'
    )


def own_command(command: bytes) -> bytes:
    """The command as its submitter wrote it."""
    return command.removeprefix(_FROZEN).removeprefix(_SCRIPT)
