"""The keys: what each does, how the footer calls it, and what the help says. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.text.terminal import text_width
from simple_gpu_scheduler.top.screen.spans import Line, Piece, line, wrapped


class Key(NamedTuple):
    """A key, or several that do the same."""

    keys: str  #: as Textual names them, with commas between
    action: str  #: the method `action_...`; with arguments, if it takes some
    shown: str  #: how it is written on the keyboard
    label: str  #: in the footer; empty: not there
    what: str  #: in the help
    rank: int = 9  #: those of the highest leave the footer first where it is narrow


KEYS = (
    Key("up,k", "move(-1)", "Up Down", "", "choose a job (k and j, too)"),
    Key("down,j", "move(1)", "", "", ""),
    Key("pageup", "page(-1)", "PgUp PgDn", "", "a screen up or down"),
    Key("pagedown", "page(1)", "", "", ""),
    Key("home", "jump(0)", "Home End", "", "to the first job, to the last"),
    Key("end", "jump(1)", "", "", ""),
    Key("left", "shift(-8)", "Left Right", "", "the rest of long commands"),
    Key("right", "shift(8)", "", "", ""),
    Key("c", "cancel", "c", "cancel", "end the job, or never start it; asks first", 1),
    Key("h", "hold", "h", "hold", "keep the job from starting; a held one: release it", 1),
    Key("plus,equals_sign", "priority(1)", "+", "", "raise the priority of a job that waits"),
    Key("minus,underscore", "priority(-1)", "-", "", "lower it"),
    Key("", "priority", "+-", "prio", "", 2),
    Key("r", "retry", "r", "retry", "queue a job again that failed, was cancelled or lost", 2),
    Key("space", "mark", "Space", "mark", "mark the job: c h + - r are for all marked ones", 6),
    Key("u", "unmark", "u", "", "unmark all"),
    Key("a", "view", "a", "view", "all jobs, only the open ones, only those that ended", 2),
    Key("slash", "filter", "/", "filter",
        "only jobs in whose state, group, name or command each word is", 3),
    Key("l,enter", "log", "l", "log", "the log, full-screen, followed (Enter, too)", 3),
    Key("i", "info", "i", "info", "all about the job: the whole command, where, when, why", 5),
    Key("g", "gpus", "g", "GPUs", "all about the GPUs, as sgs gpus tells it", 7),
    Key("question_mark,f1", "help", "?", "help", "this page", 0),
    Key("q", "quit", "q", "quit", "quit (Ctrl-C, too); jobs run on", 0),
)  # fmt: skip


def footer(width: int, *, held: bool = False, dull: Collection[str] = ()) -> Line:
    """The keys that matter, as many as there is room for.

    Args:
        held: the chosen job is held.
        dull: actions that there is nothing to do for.
    """
    shown = [one for one in KEYS if one.label]
    while len(shown) > 1 and _width(shown, held=held) > width + 1:  # its last is a blank
        shown.remove(max(shown, key=lambda one: one.rank))
    pieces: list[Piece] = []
    for one in shown:
        style = "dim" if one.action in dull else ""
        pieces += line(
            Piece(f" {one.shown} ", style or "bold"), Piece(_label(one, held=held) + " ", style)
        )
    return tuple(pieces)


_MOST_TYPED = 200
_NOTE = (
    "Jobs: those that run; those that are ready, the next first; those that need others to end; "
    "those that are held; those that have ended, the last first. (2) asks for 2 GPUs, (1/4) for "
    "a fourth of one. The cursor goes with its job; on the first line it stays there, whatever "
    "comes first."
)


def help_lines(width: int) -> list[Line]:
    """The help, a line a key, and what else is to be known."""
    told = [one for one in KEYS if one.what]
    column = max(text_width(one.shown) for one in told)
    keys = [line(Piece(f"  {one.shown.ljust(column)}  ", "bold"), one.what) for one in told]
    return [*keys, (), *(line(f"  {one}") for one in wrapped(_NOTE, width - 4, words=True))]


def edited(text: str, key: str, character: str | None) -> str:
    """A line of text after a key, as shells edit it."""
    if key == "backspace":
        return text[:-1]
    if key == "ctrl+u":
        return ""
    if key == "ctrl+w":
        return text.rstrip().rpartition(" ")[0]
    if character is not None and character.isprintable():
        return (text + character)[:_MOST_TYPED]
    return text


def _label(one: Key, *, held: bool) -> str:
    return "release" if held and one.action == "hold" else one.label


def _width(shown: Sequence[Key], *, held: bool) -> int:
    return sum(len(one.shown) + len(_label(one, held=held)) + 3 for one in shown)
