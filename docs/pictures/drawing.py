"""Pictures as SVG, one for light pages and one for dark ones, by Rich."""

import os
import re
from pathlib import Path

from rich.terminal_theme import TerminalTheme

HERE = Path(__file__).resolve().parent
TARGET = "PICTURES"  #: the variable that names the folder of the pictures

_LIGHT = [(36, 41, 47), (176, 24, 36), (17, 99, 41), (125, 78, 0), (9, 105, 218), (130, 80, 223),
          (27, 124, 131), (110, 119, 129)]  # fmt: skip
_DARK = [(72, 79, 88), (255, 123, 114), (86, 211, 100), (227, 179, 65), (121, 192, 255),
         (210, 168, 255), (86, 212, 221), (177, 186, 196)]  # fmt: skip

#: The colours of a terminal: background, foreground, and the first eight, plain and bright.
THEMES = {
    "light": TerminalTheme((246, 248, 250), (36, 41, 47), _LIGHT, _LIGHT),
    "dark": TerminalTheme((22, 27, 34), (230, 237, 243), _DARK, _DARK),
}

_FONT_OF_ANOTHER_HOST = re.compile(r"@font-face\s*{[^}]*}\s*")
_COMMENT = re.compile(r"<!--.*?-->\s*", re.DOTALL)
_BLANKS = re.compile(r"[ \t]+$", re.MULTILINE)


def save(name: str, theme: str, svg: str) -> None:
    """Write the picture, without the fonts that Rich would get from another host."""
    own = _COMMENT.sub("", _FONT_OF_ANOTHER_HOST.sub("", svg))
    own = own.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace")
    (Path(os.environ[TARGET]) / f"{name}-{theme}.svg").write_text(
        _BLANKS.sub("", own) + "\n", "utf-8"
    )
