"""What the commands take, as a shell needs to know it; told from their own parsers."""

from __future__ import annotations

import argparse
import importlib
import re
from collections.abc import Iterable
from typing import NamedTuple

from simple_gpu_scheduler.cli.parser import parser_of
from simple_gpu_scheduler.queue.records import (
    CANCELLED,
    ENDED_STATES,
    FAILED,
    HELD,
    LOST,
    OPEN_STATES,
    QUEUED,
    RUNNING,
)

#: What can stand in a place: candidates that `sgs completion` tells, or that shells know.
JOBS, GROUPS, NAMES, GPUS = "jobs", "groups", "names", "gpus"
FILES, FOLDERS, COMMAND = "files", "folders", "command"
NOTHING = "nothing"  #: a text that nobody can guess

#: The jobs that a command can do something about; all, where it isn't named.
STATES_OF = {
    "cancel": OPEN_STATES,
    "wait": OPEN_STATES,
    "hold": (QUEUED,),
    "release": (HELD,),
    "edit": (QUEUED, HELD),
    "retry": (FAILED, CANCELLED, LOST),
    "logs": (RUNNING, *ENDED_STATES),
}

_BY_OPTION = {
    "--group": GROUPS,
    "--name": NAMES,
    "--after": JOBS,
    "--after-any": JOBS,
    "--on": GPUS,
    "--shell": FILES,
}
_BY_METAVAR = {"ID": JOBS, "FILE": FILES, "DIR": FOLDERS, "-- command": COMMAND}
_MOST_HELP = 76


class Value(NamedTuple):
    """What can stand in one place."""

    kind: str
    words: tuple[str, ...] = ()  #: if it is one of these


class Option(NamedTuple):
    """An option."""

    flags: tuple[str, ...]
    help: str
    value: Value | None  #: None: it takes none
    again: bool  #: it may be given several times


class Command(NamedTuple):
    """A command of sgs."""

    name: str
    help: str
    options: tuple[Option, ...]
    operand: Value | None  #: what it takes that is no option


def commands(known: dict[str, tuple[str, str]]) -> list[Command]:
    """What each command takes.

    Args:
        known: by name, where it is (MODULE or MODULE:FUNCTION) and what it does.
    """
    return [_command(name, place, what) for name, (place, what) in known.items()]


def _command(name: str, place: str, what: str) -> Command:
    module, _, function = place.partition(":")
    found = importlib.import_module(f"simple_gpu_scheduler.cli.{module}")
    if hasattr(found, "HELP"):  # the one that has no parser, but a text with all of it
        return Command(name, what, _search_options(found.HELP), Value(NOTHING))
    parser = parser_of(getattr(found, function or "main"))
    if parser is None:
        return Command(name, what, (), None)
    shown = [one for one in parser._actions if one.help != argparse.SUPPRESS]
    options = tuple(_option(parser, one) for one in shown if one.option_strings)
    operands = [_value(one) for one in shown if not one.option_strings]
    return Command(name, what, options, operands[-1] if operands else None)


def _option(parser: argparse.ArgumentParser, action: argparse.Action) -> Option:
    text = (action.help or "") % {**vars(action), "prog": parser.prog}
    takes_value = action.nargs != 0
    again = takes_value and (action.nargs is not None or isinstance(action.default, list))
    again = again or type(action).__name__ == "_AppendAction"
    value = _value(action) if takes_value else None
    return Option(tuple(action.option_strings), _short(text), value, again)


def _value(action: argparse.Action) -> Value:
    if action.choices is not None:
        return Value(NOTHING, tuple(map(str, action.choices)))
    metavar = str(action.metavar)
    for flag in action.option_strings:
        if flag in _BY_OPTION:
            return Value(_BY_OPTION[flag])
        if metavar.startswith("ID"):
            return Value(GPUS)
    return Value(_BY_METAVAR.get(metavar, NOTHING))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MOST_HELP else text[: _MOST_HELP - 3].rsplit(" ", 1)[0] + "..."


_LINE = re.compile(r"^  (-\S.*?)  +(\S.*)$", re.MULTILINE)


def _search_options(text: str) -> tuple[Option, ...]:
    """The options of the search, from its help."""
    from simple_gpu_scheduler.search.arguments import LISTS, MODES, VALUED

    found = []
    for left, right in _LINE.findall(text):
        flags = tuple(dict.fromkeys(re.findall(r"(?<!\S)-{1,2}[\w-]+", left.replace(",", " "))))
        value = Value(NOTHING) if {*flags} & {*LISTS, *VALUED} else None
        if "--sampling-mode" in flags:
            value = Value(NOTHING, MODES)
        found.append(Option(flags, _short(right), value, again="-p" in flags))
    return tuple(found)


def words_of(options: Iterable[Option]) -> list[str]:
    """All flags."""
    return [flag for one in options for flag in one.flags]


def single_quoted(text: str) -> str:
    """A word of a POSIX shell."""
    return "'" + text.replace("'", "'\\''") + "'"
