"""A submitter's environment, without the variables that are never kept with his jobs.

A job runs with the environment in which it was submitted, and may run days later: so that stands
in the queue's file until `sgs clean --finished`. What jobs need (HF_TOKEN, WANDB_API_KEY, ...) is
kept; what is of no use to a job, and of much use to whoever gets to see it, isn't.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Names for SGS_NEVER_KEEP: a user's own list, names or patterns such as `*_PASSWORD`.
VARIABLE = b"SGS_NEVER_KEEP"

#: The lease of whoever submits isn't the job's. The others are keys to a session, which is over
#: when the job runs: of a notebook server or hub, and of password managers, whose key opens all
#: that they keep. SSH_AGENT_PID only serves to end an agent, and its number is used again.
#: SUDO_COMMAND is a command line, with the secrets that stood there.
_NEVER = (
    b"SGS_LEASE", b"JUPYTERHUB_API_TOKEN", b"JPY_API_TOKEN", b"JUPYTER_TOKEN", b"BW_SESSION",
    b"OP_SESSION_*", b"SSH_AGENT_PID", b"SUDO_COMMAND",
)  # fmt: skip


def kept(environ: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """What is kept of an environment, in the order of names."""
    found = sorted(environ)
    own = re.split(rb"[\s,]+", dict(found).get(VARIABLE, b""))
    never = re.compile(b"|".join(_pattern(word) for word in (*_NEVER, *own) if word), re.DOTALL)
    return tuple(one for one in found if not never.fullmatch(one[0]))


def _pattern(word: bytes) -> bytes:
    """Shells' `*` and `?`; all else stands for itself."""
    return re.escape(word).replace(rb"\*", b".*").replace(rb"\?", b".")
