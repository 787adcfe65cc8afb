"""Scripts that say what they need at their head: `#SGS --gpus 2 --vram 10G`, or `#SGS gpus=2`.

They are options in a command line's spelling, or directives; both come out as options. `#SGS` is
always one, as `#SBATCH` is elsewhere; `# sgs:` in any form that directives have serves as well.
"""

from __future__ import annotations

import os
import re
import shlex

from simple_gpu_scheduler.errors import UsageError

_HEAD = re.compile(rb"#SGS(?:[ \t:]+|\Z)|(?i:#[ \t]*sgs(?:[ \t]*:|[ \t]+(?=[\w-]+=)))")
_SHEBANG = re.compile(rb"#![ \t]*([^ \t]+)[ \t]*(.*?)[ \t]*")
_KEY_VALUE = re.compile(r"[a-z-]+=.*", re.DOTALL)
_SH = b"/bin/sh"


def has_head(text: bytes) -> bool:
    """Whether a script says what it needs."""
    return next(iter(_head_lines(text)), None) is not None


def head_options(text: bytes, name: str) -> list[str]:
    """The options at a script's head.

    Args:
        name: of the script, for messages.

    Raises:
        UsageError: naming the line that can't be read.
    """
    found: list[str] = []
    for number, line, rest in _head_lines(text):
        try:
            words = shlex.split(os.fsdecode(rest), comments=True)
        except ValueError as error:  # a quote that isn't closed
            raise UsageError(f"line {number} of {name}: {error}") from None
        if not words[:1] or not words[0].startswith("-"):
            if not words or not all(map(_KEY_VALUE.fullmatch, words)):
                raise UsageError(
                    f"line {number} of {name}: {os.fsdecode(line)!r}: expected options such as "
                    "--gpus 2, or KEY=VALUE"
                )
            words = [f"--{word}" for word in words]
        found += words
    return found


def interpreter(text: bytes) -> list[bytes]:
    """Who runs a script, as the kernel reads its first line (execve(2)); without one, a shell.

    Raises:
        UsageError: it ends as lines of DOS do, which no kernel understands.
    """
    first = text.partition(b"\n")[0]
    if first.endswith(b"\r"):
        raise UsageError("its lines end as those of DOS (\\r\\n); convert it, as by dos2unix")
    match = _SHEBANG.fullmatch(first)
    return [word for word in match.groups() if word] if match else [_SH]


def _head_lines(text: bytes) -> list[tuple[int, bytes, bytes]]:
    """Number, line and what it asks for, of those before anything that isn't a comment."""
    found: list[tuple[int, bytes, bytes]] = []
    for number, line in enumerate(map(bytes.strip, text.split(b"\n")), 1):
        if line and not line.startswith(b"#"):
            break
        if head := _HEAD.match(line):
            found.append((number, line, line[head.end() :]))
    return found
