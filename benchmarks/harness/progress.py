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

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.began

    def show(self, text: str) -> None:
        if self.active:
            width = shutil.get_terminal_size().columns - 1
            line = f"[{self.elapsed_s:4.0f} s] {text}"
            self.stream.write(f"\r\x1b[K{line[:width]}")
            self.stream.flush()

    def clear(self) -> None:
        if self.active:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
