"""The pictures of README.md are what the real programs show, and name nobody."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

PICTURES = Path(__file__).parent.parent / "docs/pictures"
NAMES = ["sweep-light.svg", "sweep-dark.svg", "top-light.svg", "top-dark.svg"]

_TEXT = re.compile(r"<text[^>]* x=\"([\d.]+)\" y=\"([\d.]+)\"[^>]*>(.*?)</text>")


def lines(picture: Path) -> list[str]:
    """The text of a picture, line by line."""
    rows: dict[float, dict[float, str]] = defaultdict(dict)
    for x, y, text in _TEXT.findall(picture.read_text("utf-8")):
        rows[float(y)][float(x)] = html.unescape(text).replace("\N{NO-BREAK SPACE}", " ")
    return ["".join(text for _, text in sorted(rows[y].items())) for y in sorted(rows)]


def masked(text: list[str]) -> list[str]:
    """Without what differs each time: which GPU was free first, how long it took, the clock."""
    differs = r"on gpu \d|\b(?:\d+m)?\d+s\b|\d\d:\d\d"
    return [re.sub(differs, "#", " ".join(line.split())) for line in text]


@pytest.mark.timeout(900)  # for all that waits, on a busy machine
def test_the_pictures_are_what_the_programs_show(tmp_path: Path) -> None:
    command = [sys.executable, PICTURES, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in NAMES:
        shown, committed = masked(lines(tmp_path / name)), masked(lines(PICTURES / name))
        assert shown == committed, f"{name}: make pictures draws it anew"


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_asks_no_other_host_and_names_no_place_of_its_maker(name: str) -> None:
    text = (PICTURES / name).read_text("utf-8")
    assert set(re.findall(r"https?://[^\"\s]*", text)) == {"http://www.w3.org/2000/svg"}
    assert "@font-face" not in text
    assert not re.search(r"/tmp|/home|/root|/work", text)
