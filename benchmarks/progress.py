"""One line on the terminal that says what is being measured."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO


class Progress:
    """Silent where standard error is not a terminal."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self.stream = stream
        self.active = stream.isatty()
        self.began = time.monotonic()

    def show(self, text: str) -> None:
        if self.active:
            width = shutil.get_terminal_size().columns - 1
            line = f"[{time.monotonic() - self.began:4.0f} s] {text}"
            self.stream.write(f"\r\x1b[K{line[:width]}")
            self.stream.flush()

    def clear(self) -> None:
        if self.active:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
