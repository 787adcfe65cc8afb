"""Which jobs are alike: their commands differ in numbers only."""

from __future__ import annotations

import re

#: A number that stands for itself: `0.1` and `-3e-4`, and not the one in `resnet18`.
_NUMBER = re.compile(rb"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])")


_DIRECTIVE = re.compile(rb"#[ \t]*sgs.*\Z", re.IGNORECASE)


def template(command: bytes) -> bytes:
    """The command without its numbers: what the jobs of one sweep have in common."""
    return _NUMBER.sub(b"#", _DIRECTIVE.sub(b"", command)).strip()
