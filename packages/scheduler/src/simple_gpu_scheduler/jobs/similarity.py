"""Finds similar jobs: their commands differ only in numbers."""

from __future__ import annotations

import re

#: A number that is a word of its own: `0.1` and `-3e-4`, but not the one in `resnet18`.
_NUMBER = re.compile(rb"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])")

_DIRECTIVE = re.compile(rb"#[ \t]*sgs.*\Z", re.IGNORECASE)


def strip_numbers(command: bytes) -> bytes:
    """Return a command with `#` for each number: it is the same for all jobs of a sweep."""
    return _NUMBER.sub(b"#", _DIRECTIVE.sub(b"", command)).strip()
