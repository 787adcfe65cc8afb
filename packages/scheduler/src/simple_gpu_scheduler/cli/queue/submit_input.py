"""What `sgs submit` is to run: the command after --, a list of commands, or a script."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.cli.queue.submit_options import parser
from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.jobs.job import Line
from simple_gpu_scheduler.jobs.validation import find_command_error
from simple_gpu_scheduler.pipe.lines import LineSource
from simple_gpu_scheduler.queue.wrapped_command import as_script
from simple_gpu_scheduler.system.fds import print_stderr, wait_readable

_SEPARATOR = "--"


class Work(NamedTuple):
    """What to run: commands, or a script."""

    lines: Sequence[Line]  #: the commands
    is_list: bool = False  #: they came from stdin or a file
    script: bytes | None = None  #: the text of the script


def read_command_line(argv: Sequence[str]) -> tuple[argparse.Namespace, Work]:
    """Read the options, and what to run: a command, a list of commands, or a script.

    Raises:
        UsageError: an option is wrong, or a file can't be read.
    """
    words = list(argv)
    split = words.index(_SEPARATOR) if _SEPARATOR in words else len(words)
    # As an option, -0 would keep argparse from seeing a number in `--priority -3`.
    ours = ["--null" if word == "-0" else word for word in words[:split]]
    theirs = words[split + 1 :]
    args = _parse(ours, words)
    script = args.script or (args.command[0] if _is_script(args.command[:1]) else None)
    if script is None:
        if args.command and split < len(words):
            raise UsageError(_misplaced(args.command[0]))
        return args, _commands(args, [*args.command, *theirs])
    if args.file is not None or args.null:
        raise UsageError("--file and --null are for lists of commands, but a script is given")
    from simple_gpu_scheduler.queue.worktrees.scripts import read_script

    text = read_script(script)
    args = parser().parse_args([*_head(text, script), *ours])
    arguments = [*args.command[args.script is None :], *theirs]
    command = as_script(os.fsencode(shlex.join([script, *arguments])))
    return args, Work([_line(command)], script=text)


def _parse(ours: Sequence[str], words: Sequence[str]) -> argparse.Namespace:
    try:
        return parser().parse_args(ours)
    except UsageError as error:
        if _SEPARATOR in words or not str(error).startswith("unrecognized"):
            raise
        raise UsageError(
            f"{error}; the command and its options follow --, as in: sgs submit -- train --lr 0.1"
        ) from None


def _misplaced(word: str) -> str:
    """Return the error for a word before -- that is no option."""
    if os.path.isfile(word):
        return f"{word!r} stands before --, but has no #SGS lines; if it is a script: --script"
    return f"{word!r} stands before --, where only options are expected; the command follows it"


def _is_script(words: Sequence[str]) -> bool:
    if not words or not os.path.isfile(words[0]):
        return False
    from simple_gpu_scheduler.jobs.script_header import has_header
    from simple_gpu_scheduler.queue.worktrees.scripts import read_script

    try:
        return has_header(read_script(words[0]))
    except UsageError:
        return False


def _head(text: bytes, name: str) -> list[str]:
    """Return the options at the head of a script, after a check."""
    from simple_gpu_scheduler.jobs.script_header import parse_header

    options = parse_header(text, name)
    try:
        args = parser().parse_args(options)
    except UsageError as error:
        raise UsageError(f"the #SGS lines of {name}: {error}") from None
    if args.command or args.script or args.file or args.null:
        word = (args.command or ["what to run"])[0]
        raise UsageError(f"the #SGS lines of {name}: expected options only, not {word!r}")
    return options


def _commands(args: argparse.Namespace, words: Sequence[str]) -> Work:
    if not words:
        return Work(_read_list(args), is_list=True)
    if args.file is not None or args.null:
        raise UsageError("--file and --null are for lists of commands, but one command is given")
    if not "".join(words).strip():
        raise UsageError("the command is empty")
    return Work([_line(os.fsencode(words[0] if len(words) == 1 else shlex.join(words)))])


def _line(command: bytes) -> Line:
    return Line(1, command, find_command_error(command))


def _read_list(args: argparse.Namespace) -> Sequence[Line]:
    if args.file in (None, "-"):
        if os.isatty(0):
            print_stderr("sgs submit: reading commands, one per line; ^D ends them")
        return list(_lines(0, null=args.null))
    try:
        with open(args.file, "rb") as file:
            return list(_lines(file.fileno(), null=args.null))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"--file {args.file!r} can't be read: {reason}") from None


def _lines(fd: int, *, null: bool) -> Iterator[Line]:
    source = LineSource(fd, b"\0" if null else b"\n")
    while not source.at_end:
        if source.wants_input:
            wait_readable([fd])  # the descriptor may be non-blocking
            source.fill()
        while (line := source.take()) is not None:
            if line.command and not line.command.isspace():
                yield line
