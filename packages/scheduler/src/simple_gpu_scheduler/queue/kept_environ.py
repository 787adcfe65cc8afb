"""A submitter's environment without the variables that are never kept with a job.

A job runs with the environment in which it was submitted, and may run days later. So the
environment stays in the queue's file until `sgs clean --finished`. Variables that jobs need
(HF_TOKEN, WANDB_API_KEY, ...) are kept. Variables that no job needs, but that help somebody who
steals the file, are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: A user's own list of names or patterns such as `*_PASSWORD`.
VARIABLE = b"SGS_NEVER_KEEP"

#: SGS_LEASE is the lease of the submitter, not of the job. Most others are keys to a session that
#: is over when the job runs: of a notebook server or hub, or of a password manager, whose key
#: opens all its passwords. SSH_AGENT_PID only serves to end an agent, and its number is used
#: again. SUDO_COMMAND is a command line, with the secrets that were written there.
_NEVER = (
    b"SGS_LEASE", b"JUPYTERHUB_API_TOKEN", b"JPY_API_TOKEN", b"JUPYTER_TOKEN", b"BW_SESSION",
    b"OP_SESSION_*", b"SSH_AGENT_PID", b"SUDO_COMMAND",
)  # fmt: skip


def kept(environ: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the variables that are kept with a job, sorted by name."""
    variables = sorted(environ)
    own = re.split(rb"[\s,]+", dict(variables).get(VARIABLE, b""))
    never = re.compile(b"|".join(_pattern(name) for name in (*_NEVER, *own) if name), re.DOTALL)
    return tuple((name, value) for name, value in variables if not never.fullmatch(name))


def _pattern(name: bytes) -> bytes:
    """A regular expression for a name, in which `*` and `?` are as in a shell."""
    return re.escape(name).replace(rb"\*", b".*").replace(rb"\?", b".")
