"""Options in the first lines of a script: `#SGS --gpus 2 --vram 10G`, or `#SGS gpus=2`.

A line has options as on the command line, or directives, which are turned into options. `#SGS` is
always such a line, like `#SBATCH` for Slurm. All other forms of a directive, such as `# sgs:`, may
be used as well.
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


def has_header(text: bytes) -> bool:
    """True if a script has options in its first lines."""
    return bool(_find_header(text))


def parse_header(text: bytes, name: str) -> list[str]:
    """Return the options in the first lines of a script.

    Args:
        text: The script.
        name: Its name, for messages.

    Raises:
        UsageError: A line can't be read. The message names it.
    """
    options: list[str] = []
    for number, line, rest in _find_header(text):
        try:
            words = shlex.split(os.fsdecode(rest), comments=True)
        except ValueError as error:  # an open quote
            raise UsageError(f"line {number} of {name}: {error}") from None
        if not words[:1] or not words[0].startswith("-"):
            if not words or not all(map(_KEY_VALUE.fullmatch, words)):
                raise UsageError(
                    f"line {number} of {name}: {os.fsdecode(line)!r}: expected options such as "
                    "--gpus 2, or KEY=VALUE"
                )
            words = [f"--{word}" for word in words]
        options += words
    return options


def parse_interpreter(text: bytes) -> list[bytes]:
    """Return the program that runs a script, as execve(2) reads its first line; else a shell.

    Raises:
        UsageError: The line ends with \\r\\n, as on DOS: then the kernel finds no program.
    """
    first_line = text.partition(b"\n")[0]
    if first_line.endswith(b"\r"):
        raise UsageError(
            "its lines end as those of DOS (\\r\\n); convert it, for example with dos2unix"
        )
    match = _SHEBANG.fullmatch(first_line)
    return [word for word in match.groups() if word] if match else [_SH]


def _find_header(text: bytes) -> list[tuple[int, bytes, bytes]]:
    """The lines with options before the first line that isn't a comment: number, line, options."""
    lines: list[tuple[int, bytes, bytes]] = []
    for number, line in enumerate(map(bytes.strip, text.split(b"\n")), 1):
        if line and not line.startswith(b"#"):
            break
        if head := _HEAD.match(line):
            lines.append((number, line, line[head.end() :]))
    return lines
