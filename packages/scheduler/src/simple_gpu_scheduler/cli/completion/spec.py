"""The options and arguments of each command, read from the command's own parser."""

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

#: Kinds of values. `sgs completion` prints the first ones; shells know files and commands.
JOBS, GROUPS, NAMES, GPUS = "jobs", "groups", "names", "gpus"
FILES, FOLDERS, COMMAND = "files", "folders", "command"
NOTHING = "nothing"  #: a text that can't be completed

#: The states of the jobs on which a command can act. Commands that aren't named: all states.
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
    """The values that an option or argument takes."""

    kind: str
    words: tuple[str, ...] = ()  #: the choices, if there are such


class Option(NamedTuple):
    """An option of a command."""

    flags: tuple[str, ...]
    help: str
    value: Value | None  #: None: it takes no value
    again: bool  #: it may be given several times


class Command(NamedTuple):
    """A command of sgs."""

    name: str
    help: str
    options: tuple[Option, ...]
    operand: Value | None  #: its arguments that are no options


def commands(known: dict[str, tuple[str, str]]) -> list[Command]:
    """Return the options and arguments of each command.

    Args:
        known: by name, its place (MODULE or MODULE:FUNCTION) and what it does.
    """
    return [_command(name, place, what) for name, (place, what) in known.items()]


def _command(name: str, place: str, what: str) -> Command:
    module, _, function = place.partition(":")
    imported = importlib.import_module(f"simple_gpu_scheduler.cli.{module}")
    if hasattr(imported, "HELP"):  # simple_hypersearch has no argparse parser, but a help text
        return Command(name, what, _search_options(imported.HELP), Value(NOTHING))
    parser = parser_of(getattr(imported, function or "main"))
    if parser is None:
        return Command(name, what, (), None)
    actions = [action for action in _actions(parser) if action.help != argparse.SUPPRESS]
    options = tuple(_option(parser, action) for action in actions if action.option_strings)
    operands = [_value(action) for action in actions if not action.option_strings]
    return Command(name, what, options, operands[-1] if operands else None)


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the arguments of a parser, and the options of its sub-parsers, each of them once."""
    actions = list(parser._actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                known = {flag for other in actions for flag in other.option_strings}
                shown = (own for own in one._actions if own.help != argparse.SUPPRESS)
                actions += [own for own in shown if not known.issuperset(own.option_strings)]
    return actions


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
    """Read the options of simple_hypersearch from its help."""
    from simple_gpu_scheduler.search.arguments import LISTS, MODES, VALUED

    options = []
    for left, right in _LINE.findall(text):
        flags = tuple(dict.fromkeys(re.findall(r"(?<!\S)-{1,2}[\w-]+", left.replace(",", " "))))
        value = Value(NOTHING) if {*flags} & {*LISTS, *VALUED} else None
        if "--sampling-mode" in flags:
            value = Value(NOTHING, MODES)
        options.append(Option(flags, _short(right), value, again="-p" in flags))
    return tuple(options)


def flags_of(options: Iterable[Option]) -> list[str]:
    """Return all flags of the options."""
    return [flag for option in options for flag in option.flags]


def single_quoted(text: str) -> str:
    """Quote a text for a POSIX shell."""
    return "'" + text.replace("'", "'\\''") + "'"
