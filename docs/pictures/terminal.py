"""A terminal with a program in it, whose screen can be drawn."""

import fcntl
import io
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import pyte
from drawing import THEMES, save
from rich.console import Console
from rich.style import Style
from rich.text import Text

_BOUND_S = 120.0
_COLOURS = {"brown": "yellow"}  # what pyte calls the colour that others call yellow


class Terminal:
    """A program in a terminal."""

    def __init__(
        self, command: Sequence[str | Path], folder: Path, env: Mapping[str, str], lines: int
    ) -> None:
        self._screen = pyte.Screen(80, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 80, 0, 0))
        self.process = subprocess.Popen(
            command, cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)

    def type(self, keys: str) -> None:
        """Press these keys."""
        os.write(self._ours, keys.encode())

    def until(self, shown: Callable[[list[str]], bool]) -> None:
        """Read what the program writes until its screen is like this."""
        end_s = time.monotonic() + _BOUND_S
        while not shown([one.rstrip() for one in self._screen.display]):
            if time.monotonic() > end_s or not self._read():
                raise RuntimeError("not seen as expected:\n" + "\n".join(self._screen.display))

    def _read(self) -> bool:
        """Read what there is; False once the program has ended."""
        try:
            if select.select([self._ours], [], [], 0.1)[0]:
                self._stream.feed(os.read(self._ours, 1 << 16))
        except OSError:  # so Linux says that nobody has the terminal any more
            return False
        return True

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def draw(self, name: str, title: str) -> None:
        """Save its screen as a picture, as far as there is something on it."""
        rows = [self._row(row) for row in range(self._screen.lines)]
        while not rows[-1].plain.strip():
            rows.pop()
        for theme, colours in THEMES.items():
            console = Console(width=80, record=True, file=io.StringIO(), highlight=False)
            console.print(Text("\n").join(rows))
            save(name, theme, console.export_svg(title=title, theme=colours))

    def _row(self, row: int) -> Text:
        """A line of the screen, in pieces of one style."""
        cells = [self._screen.buffer[row][column] for column in range(self._screen.columns)]
        text = Text()
        for style, same in groupby(cells, _style):
            text.append("".join(cell.data for cell in same), style)
        text.rstrip()
        return text


def _style(cell: pyte.screens.Char) -> Style:
    fg, bg = (None if one == "default" else _COLOURS.get(one, one) for one in (cell.fg, cell.bg))
    return Style(color=fg, bgcolor=bg, bold=cell.bold, reverse=cell.reverse)
