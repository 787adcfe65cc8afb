"""The widgets of the dashboard, and the screens that open on top of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.geometry import Region
from textual.screen import ModalScreen, Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Footer, Input, Static
from textual.widgets._footer import FooterKey

from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.text.terminal import text_width
from simple_gpu_scheduler.top.bindings import BINDINGS
from simple_gpu_scheduler.top.screen.spans import STYLES, Line, Span, line, wrap

_CONFIRM_COLUMNS = 64
_MAX_FILTER = 200  # characters
_ORDER = {binding.action: place for place, binding in enumerate(BINDINGS)}
_ALWAYS_SHOWN = {"help", "quit", "back"}  #: these stay in the footer, however narrow it is


@cache
def _style(name: str) -> Style:
    return Style.parse(STYLES[name])


class Lines(Widget):
    """Shows lines; only changed lines are written to the terminal."""

    DEFAULT_CSS = "Lines { height: 1; width: 100%; }"

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: list[Line] = []
        self._height = 1

    def show(self, lines: Sequence[Line], height: int | None = None) -> None:
        """Show other lines.

        Args:
            height: the new height of the widget.
        """
        old, self._lines = self._lines, list(lines)
        if height is not None and height != self._height:
            self._height = self.styles.height = height
            self.display = height > 0
        changed = [
            y for y in range(max(len(old), len(lines))) if old[y : y + 1] != self._lines[y : y + 1]
        ]
        if len(changed) > self.app.size.height:
            self.refresh()
        elif changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def render_line(self, y: int) -> Strip:
        """Give Textual one line."""
        spans = self._lines[y] if y < len(self._lines) else ()
        strip = Strip([Segment(printable(span.text), _style(span.style)) for span in spans])
        return strip.adjust_cell_length(self.size.width, self.rich_style)


class KeysFooter(Footer):
    """Textual's footer, with two differences.

    In a narrow terminal Textual's footer scrolls, which would hide how to quit. This one leaves
    out the last keys, but never help and quit. And Textual's dim keys do nothing; here their
    action still runs, because it says why there is nothing to do.
    """

    DEFAULT_CSS = """
    KeysFooter, KeysFooter FooterKey, KeysFooter .footer-key--key,
    KeysFooter .footer-key--description { background: ansi_default; color: ansi_default; }
    """

    def __init__(self, idle: Callable[[], Collection[str]]) -> None:
        """`idle` returns the actions that change nothing now; their keys are dim."""
        super().__init__(show_command_palette=False)
        self._idle_actions = idle

    def compose(self) -> ComposeResult:
        """Show the keys that fit."""
        keys = [key for key in super().compose() if isinstance(key, FooterKey)]
        keys.sort(key=lambda key: _ORDER.get(key.action, -1))  # a keymap moves its keys to the end
        idle = self._idle_actions()
        while sum(map(_key_width, keys)) > self.size.width + 1:  # the last column is a blank
            removable = [key for key in keys if key.action not in _ALWAYS_SHOWN]
            if not removable:
                break
            keys.remove(removable[-1])
        for key in keys:
            key.set_class(key.action.partition("(")[0] in idle, "-disabled")
            yield key

    def on_resize(self) -> None:
        """Show the keys that fit now."""
        self.refresh(recompose=True)


def _key_width(key: FooterKey) -> int:
    return text_width(key.key_display) + text_width(key.description) + 3


class LogScroll(VerticalScroll):
    """Textual's scrolling, with the keys of `less` as well."""

    DEFAULT_CSS = "LogScroll { scrollbar-size: 0 0; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "scroll_up", show=False),
        Binding("j", "scroll_down", show=False),
        Binding("b", "page_up", show=False),
        Binding("space", "page_down", show=False),
        Binding("f", "scroll_end", show=False),
    ]


class Pager(Screen[None]):
    """A full-screen page of lines; with `at_end` it stays at the end while the log grows."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape,l,enter,i,g,question_mark,f1", "back", "back"),
    ]
    AUTO_FOCUS = "LogScroll"
    DEFAULT_CSS = """
    Pager KeysFooter { dock: none; width: 1fr; }
    """

    def __init__(
        self,
        head: Callable[[int], Line],
        body: Callable[[int], Sequence[Line]],
        idle: Callable[[], Collection[str]],
        *,
        job: int | None = None,
        at_end: bool = False,
    ) -> None:
        """Make a page.

        Args:
            head: returns the title for a width.
            body: returns the lines for a width.
            idle: returns the actions that change nothing now.
            job: the job that the page is about.
            at_end: start at the end, and stay there while lines are added.
        """
        super().__init__()
        self._head = head
        self._body = body
        self.job = job
        self._at_end = at_end
        self._title, self._lines = Lines(), Lines()
        self._scroll = LogScroll(self._lines)
        self._footer, self._range = KeysFooter(idle), Static()

    def compose(self) -> ComposeResult:
        """Show the title, the lines and the keys."""
        yield self._title
        yield self._scroll
        yield Horizontal(self._footer, self._range)

    def on_mount(self) -> None:
        """Draw: the size is known now."""
        self._scroll.anchor(self._at_end)
        self.watch(self._scroll, "scroll_y", self._show_range)
        self.show()

    def on_resize(self) -> None:
        """Draw again."""
        self.show()

    def show(self) -> None:
        """Show the current lines."""
        if self.is_mounted:
            width = self.app.size.width
            lines = self._body(width)
            self._title.show([self._head(width)])
            self._lines.show(lines, len(lines))
            self.call_after_refresh(self._show_range)

    def action_back(self) -> None:
        """Go back to the board."""
        self.dismiss()

    def _show_range(self) -> None:
        scroll = self._scroll
        first, total = scroll.scroll_offset.y, scroll.virtual_size.height
        text = f"{min(first + 1, total)}-{min(first + scroll.size.height, total)} of {total} "
        if self._at_end:
            text += "- follows " if scroll.is_vertical_scroll_end else "- End follows "
        self._range.update(Text(text, "reverse"))


class Confirm(ModalScreen[bool]):
    """Asks a question; only the key y means yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", show=False),
        Binding("n,escape,enter,q", "answer(False)", show=False),
    ]
    DEFAULT_CSS = """
    Confirm { align: center middle; }
    Confirm Lines { border: round ansi_yellow; padding: 0 1; background: ansi_default; }
    """

    def __init__(self, question: str, facts: Sequence[str], yes: str, no: str) -> None:
        """Make the question.

        Args:
            question: the question itself.
            facts: lines to show under it.
            yes: what the answer yes does.
            no: what the answer no does.
        """
        super().__init__()
        self._question = question
        self._facts = facts
        self._answers = line(Span("y ", "bold"), f"{yes}   ", Span("n ", "bold"), no)

    def compose(self) -> ComposeResult:
        """Show the box."""
        yield Lines()

    def on_mount(self) -> None:
        """Draw: the size is known now."""
        columns = min(_CONFIRM_COLUMNS, self.app.size.width - 2)
        lines = [line(Span(part, "bold")) for part in wrap(printable(self._question), columns - 4)]
        for fact in self._facts:
            lines += [line(part) for part in wrap(printable(fact), columns - 4)[:3]]
        box = self.query_one(Lines)
        box.styles.width = columns
        box.show([*lines, (), self._answers], len(lines) + 4)

    def action_answer(self, yes: bool) -> None:
        """Close with this answer."""
        self.dismiss(yes)


class FilterInput(Input):
    """The line to type the filter in.

    Characters that can't be printed are removed, because a paste could hold control sequences.
    """

    DEFAULT_CSS = "FilterInput { background: ansi_default; color: ansi_default; width: 1fr; }"

    def __init__(self) -> None:
        """Make an empty line."""
        super().__init__(
            placeholder="words that a job must match; Enter keeps them, Escape removes them",
            compact=True, max_length=_MAX_FILTER, select_on_focus=False,
        )  # fmt: skip
        self.cursor_blink = False  # a blinking cursor would write to the terminal all the time

    def validate_value(self, value: str) -> str:
        """Remove the characters that can't be printed."""
        return "".join(character for character in value if character.isprintable())
