"""Textual's side of lines: a widget that shows them, and screens that are on top of the board."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.screen import ModalScreen, Screen
from textual.strip import Strip
from textual.widget import Widget

from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.top.screen.spans import STYLES, Line, Piece, both_ends, line, wrapped

_CONFIRM_COLUMNS = 64
_PAGER_KEYS = " Up Down PgUp PgDn Home End   q back "


@cache
def _style(name: str) -> Style:
    return Style.parse(STYLES[name])


class Lines(Widget):
    """Shows lines; of those that change, and of no others, the terminal hears."""

    DEFAULT_CSS = "Lines { height: 1; width: 100%; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: list[Line] = []
        self._height = 1

    def show(self, lines: Sequence[Line], height: int | None = None) -> None:
        """Show these instead.

        Args:
            height: the widget's from now on.
        """
        old, self._lines = self._lines, list(lines)
        if height is not None and height != self._height:
            self._height = self.styles.height = height
            self.display = height > 0
        changed = [
            Region(0, y, self.size.width, 1)
            for y in range(max(len(old), len(lines)))
            if old[y : y + 1] != self._lines[y : y + 1]
        ]
        if changed:
            self.refresh(*changed)

    def render_line(self, y: int) -> Strip:
        """Textual asks for a line."""
        pieces = self._lines[y] if y < len(self._lines) else ()
        strip = Strip([Segment(printable(one.text), _style(one.style)) for one in pieces])
        return strip.adjust_cell_length(self.size.width, self.rich_style)


class Pager(Screen[None]):
    """A whole screen of lines to scroll in; at its end it follows what comes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_by(-1)", show=False),
        Binding("down,j", "scroll_by(1)", show=False),
        Binding("pageup,b", "page(-1)", show=False),
        Binding("pagedown,space", "page(1)", show=False),
        Binding("home", "to(0)", show=False),
        Binding("end,f", "to(1)", show=False),
        Binding("q,escape,l,enter,i,g,question_mark,f1", "back", show=False),
    ]

    def __init__(
        self,
        head: Callable[[int], Line],
        body: Callable[[int], Sequence[Line]],
        *,
        job: int | None = None,
        at_end: bool = False,
    ) -> None:
        """`head` and `body` give the lines for a width; `job`: whom they are about."""
        super().__init__()
        self._head = head
        self._body = body
        self.job = job
        self._follow = at_end
        self._goes_on = at_end
        self._first = 0
        self._lines: list[Line] = []
        self._parts = Lines(), Lines(), Lines()

    def compose(self) -> ComposeResult:
        """Its parts: whose lines they are, the lines, and the keys."""
        yield from self._parts

    def on_mount(self) -> None:
        """It has a size now."""
        self.show()

    def on_resize(self) -> None:
        """It has another one."""
        self.show()

    def show(self) -> None:
        """Show what there is now."""
        if self.is_mounted:
            self._lines = list(self._body(self.app.size.width))
            self._draw()

    def action_scroll_by(self, lines: int) -> None:
        """Up or down."""
        last = self._last()
        self._first = max(0, min(self._first + lines, last))
        self._follow = self._goes_on and self._first == last
        self._draw()

    def action_page(self, pages: int) -> None:
        """A screen up or down."""
        self.action_scroll_by(pages * max(1, self._rows() - 1))

    def action_to(self, end: int) -> None:
        """To the beginning or the end."""
        self.action_scroll_by(1 << 40 if end else -(1 << 40))

    def action_back(self) -> None:
        """Back to the board."""
        self.dismiss()

    def _rows(self) -> int:
        return max(1, self.app.size.height - 2)

    def _last(self) -> int:
        """The first line, where the last one is at the bottom."""
        return max(0, len(self._lines) - self._rows())

    def _draw(self) -> None:
        width, rows = self.app.size.width, self._rows()
        self._first = self._last() if self._follow else min(self._first, self._last())
        shown = self._lines[self._first : self._first + rows]
        head, body, foot = self._parts
        head.show([self._head(width)])
        body.show(shown, rows)
        told = f"{self._first + 1}-{self._first + len(shown)} of {len(self._lines)} "
        if self._goes_on:
            told += "- follows " if self._follow else "- End follows "
        left, right = line(Piece(_PAGER_KEYS, "heads")), line(Piece(told, "heads"))
        foot.show([both_ends(left, right, width)])


class Confirm(ModalScreen[bool]):
    """Asks; only y is yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", show=False),
        Binding("n,escape,enter,q", "answer(False)", show=False),
    ]
    DEFAULT_CSS = """
    Confirm { align: center middle; }
    Confirm Lines { border: round ansi_yellow; padding: 0 1; background: ansi_default; }
    """

    def __init__(self, question: str, facts: Sequence[str], yes: str, no: str) -> None:
        """`facts` are told under the question; `yes` and `no`: what the answers mean."""
        super().__init__()
        self._question = question
        self._facts = facts
        self._answers = line(Piece("y ", "bold"), f"{yes}   ", Piece("n ", "bold"), no)

    def compose(self) -> ComposeResult:
        """Its only part."""
        yield Lines()

    def on_mount(self) -> None:
        """It has a size now."""
        columns = min(_CONFIRM_COLUMNS, self.app.size.width - 2)
        told = [
            line(Piece(one, "bold")) for one in wrapped(printable(self._question), columns - 4)
        ]
        for fact in self._facts:
            told += [line(one) for one in wrapped(printable(fact), columns - 4)[:3]]
        box = self.query_one(Lines)
        box.styles.width = columns
        box.show([*told, (), self._answers], len(told) + 4)

    def action_answer(self, yes: bool) -> None:
        """That is it."""
        self.dismiss(yes)
