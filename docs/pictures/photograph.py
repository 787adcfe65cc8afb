"""`sgs top`, drawn by Textual on no screen; the machine and its users have invented names."""

import asyncio
import html
import pwd
import re
import socket
import sys
import time
from types import SimpleNamespace
from unittest import mock

from drawing import THEMES, save
from textual.app import App
from textual.pilot import Pilot

from simple_gpu_scheduler.entry import sgs

_BOUND_S = 100.0
_SHOWN = ["1-7 of 7", "epoch  40", "job 4", "jupyter-lab", "3 running", "q quit"]


async def draw(app: App[None]) -> None:
    """Run the app until it shows all, and draw it for light and for dark pages."""
    async with app.run_test(size=(80, 24)) as pilot:
        await until_complete(app, pilot)
        for theme, colours in THEMES.items():
            with mock.patch("rich.console.SVG_EXPORT_THEME", colours):
                save("top", theme, app.export_screenshot(title="sgs top"))
        app.exit()


async def until_complete(app: App[None], pilot: Pilot[None]) -> None:
    """Wait until everything that the picture should have is on the screen."""
    end_s = time.monotonic() + _BOUND_S
    while lacking := [words for words in _SHOWN if words not in text_of(app.export_screenshot())]:
        if time.monotonic() > end_s:
            raise RuntimeError(f"not on the screen: {lacking}")
        await pilot.pause(0.05)


def text_of(svg: str) -> str:
    """The text of a picture, line after line."""
    text = html.unescape(re.sub(r"<[^>]*>", "", svg.partition('-matrix">')[2]))
    return text.replace("\N{NO-BREAK SPACE}", " ")


def main() -> int:
    """Run `sgs top` with a camera in place of the terminal's screen."""
    anna = SimpleNamespace(pw_name="anna")
    with (
        mock.patch.object(App, "run", lambda app, **_: asyncio.run(draw(app))),
        mock.patch.object(socket, "gethostname", return_value="gpu7"),
        mock.patch.object(pwd, "getpwuid", return_value=anna),
        mock.patch.object(sys, "argv", ["sgs", "top"]),
    ):
        return sgs()


if __name__ == "__main__":
    sys.exit(main())
