"""Sizes of memory as users write them: 10G, 512M, 40GiB."""

from __future__ import annotations

import math
import re

from simple_gpu_scheduler.errors import UsageError

_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([kmgt]?)(i?b)?", re.ASCII | re.IGNORECASE)
_MIB = {"k": 1 / 1024, "m": 1, "g": 1024, "t": 1024 * 1024}


def parse_memory_mib(text: str, what: str) -> int:
    """Read a size, in MiB; all units are powers of 1024, as in nvidia-smi.

    Args:
        text: What the user wrote.
        what: The option, for the message.

    Raises:
        UsageError: The text is not a size, has no unit, or is zero.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or not match[2]:
        raise UsageError(f"{what} {text!r}: expected a size with its unit, such as 10G or 512M")
    mib = math.ceil(float(match[1]) * _MIB[match[2].lower()])
    if mib < 1:
        raise UsageError(f"{what} {text!r}: expected more than nothing")
    return mib


def format_memory(mib: int) -> str:
    """Format a size: `10 GiB`, `1.5 GiB`, `512 MiB`."""
    return f"{mib} MiB" if mib < 1024 else f"{mib / 1024:.3g} GiB"
