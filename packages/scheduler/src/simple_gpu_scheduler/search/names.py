"""Run names such as lr=0.001_bs=32: safe as a file name and as a word of the shell.

Different combinations have different names. All characters but letters, digits and `._+-` are
escaped. So a name has no other = than those between parameters and values, and can be parsed.
"""

from __future__ import annotations

import os

from simple_gpu_scheduler.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from simple_gpu_scheduler.search.spaces.space import Space

SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-")
MAX_LENGTH = 200  # characters
DIGEST_BYTES = 8


class RunNames:
    """Names for the combinations of one space."""

    def __init__(self, space: Space, prefix: str) -> None:
        if not SAFE.issuperset(os.fsencode(prefix)) or prefix[:1] in ("-", "."):
            raise UsageError(
                f"--name={prefix}: the prefix may hold letters, digits and ._+- and must not "
                "start with - or . (write a directory in the command: runs/{name})"
            )
        self.prefix = f"{prefix}_" if prefix else ""
        varying = [name for name, column in space.columns.items() if column.varies()]
        self.keys = {name: encode(name) for name in varying or space.columns}

    def of(self, values: Mapping[str, object]) -> str:
        """The name of a combination."""
        parts = [f"{key}={encode(str(values[name]))}" for name, key in self.keys.items()]
        name = self.prefix + "_".join(parts)
        if name[0] in "-.":
            name = f"%{ord(name[0]):02X}{name[1:]}"
        return name if len(name) <= MAX_LENGTH else _shorten(name)


def encode(text: str) -> str:
    """Percent-encode every byte that isn't safe."""
    return "".join(chr(byte) if byte in SAFE else f"%{byte:02X}" for byte in os.fsencode(text))


def _shorten(name: str) -> str:
    """The beginning of a long name, and a hash of the whole name."""
    from hashlib import blake2b  # few names are long

    digest = blake2b(name.encode(), digest_size=DIGEST_BYTES).hexdigest()
    return f"{name[: MAX_LENGTH - 1 - len(digest)]}-{digest}"
