"""`sgs submit`: put jobs into the queue."""

from __future__ import annotations

import argparse
import os
import select
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.cli.queue.submit_options import Asked, asked_by, parser, request_of
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.jobs.job import Line
from simple_gpu_scheduler.jobs.validation import find_command_error
from simple_gpu_scheduler.pipe.lines import LineSource
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.job_ids import numbers
from simple_gpu_scheduler.queue.kept_environ import kept
from simple_gpu_scheduler.queue.records import (
    CANCELLED,
    FAILED,
    LOST,
    Context,
    JobRequest,
    Submitted,
)
from simple_gpu_scheduler.queue.wrapped_command import (
    FREEZE_VARIABLE,
    SCRIPT_VARIABLE,
    as_script,
    freeze_code,
    frozen,
)
from simple_gpu_scheduler.system.fds import print_lines, print_stderr

_SEPARATOR = "--"
_Submit = Callable[[QueueHome, Context, Iterable[JobRequest]], list[Submitted]]


class _Work(NamedTuple):
    """What is to be run."""

    lines: Sequence[Line]  #: commands
    is_list: bool = False
    script: bytes | None = None  #: a text to be kept


def main(argv: Sequence[str]) -> int:
    """Submit; returns the exit status.

    Raises:
        UsageError: it can't be what was meant.
        SgsError: the queue can't be written; nothing was accepted.
    """
    args, work = _read(argv)
    asked = asked_by(args, is_list=work.is_list, now_s=time.time())
    context = _context()
    home = QueueHome()
    submit = _submit_frozen if args.freeze else _submit
    if work.script is None:
        found = submit(home, context, _requests(asked, work))
    else:
        found = _submit_script(home, context, _requests(asked, work), work.script, submit)
    _wake(home)  # first: what is printed is to run, even if we are killed right then
    try:
        _tell(asked, found)
    except BrokenPipeError:
        raise
    except OSError as error:
        ids = numbers([one.id for one in found]) or "none"
        raise SgsError(
            f"accepted are the jobs {ids}, but that can't be printed: {error.strerror}"
        ) from None
    return 0


def _submit(home: QueueHome, context: Context, requests: Iterable[JobRequest]) -> list[Submitted]:
    return home.store.submit(context, requests, time.time())


def _submit_script(
    home: QueueHome, context: Context, requests: Iterable[JobRequest], text: bytes, submit: _Submit
) -> list[Submitted]:
    """Submit a script whose text is kept."""
    from simple_gpu_scheduler.queue.worktrees.scripts import keep_script
    from simple_gpu_scheduler.queue.worktrees.usage_lock import in_use

    with in_use(home.folder):
        code = keep_script(home.folder, text)
        return submit(home, _with(context, SCRIPT_VARIABLE, code), requests)


def _submit_frozen(
    home: QueueHome, context: Context, requests: Iterable[JobRequest]
) -> list[Submitted]:
    """Submit jobs that run in copies of the work tree."""
    from simple_gpu_scheduler.queue.worktrees.git import names_a_repository
    from simple_gpu_scheduler.queue.worktrees.snapshot import take_snapshot
    from simple_gpu_scheduler.queue.worktrees.usage_lock import in_use

    with in_use(home.folder):
        snapshot = take_snapshot(home.folder, context.cwd, _say)
        environ = tuple(one for one in context.environ if not names_a_repository(one[0]))
        context = Context(os.fsencode(home.folder), environ, context.umask)
        code = freeze_code(sys.executable, home.folder, snapshot)
        frozen_requests = (
            one._replace(command=_checked(frozen(one.command)), snapshot=snapshot)
            for one in requests
        )
        return _submit(home, _with(context, FREEZE_VARIABLE, code), frozen_requests)


def _checked(command: bytes) -> bytes:
    if (reason := find_command_error(command)) is not None:
        raise UsageError(f"the command {reason}")
    return command


def _wake(home: QueueHome) -> None:
    try:
        home.start_server()
    except (SgsError, OSError) as error:
        _say(f"it is accepted, but {error} (sgs server start)")


# what is to be run


def _read(argv: Sequence[str]) -> tuple[argparse.Namespace, _Work]:
    words = list(argv)
    split = words.index(_SEPARATOR) if _SEPARATOR in words else len(words)
    # As an option, -0 would keep argparse from seeing a number in `--priority -3`.
    ours = ["--null" if word == "-0" else word for word in words[:split]]
    theirs = words[split + 1 :]
    args = _parsed(ours, words)
    script = args.script or (args.command[0] if _is_script(args.command[:1]) else None)
    if script is None:
        if args.command and split < len(words):
            raise UsageError(_misplaced(args.command[0]))
        return args, _commands(args, [*args.command, *theirs])
    if args.file is not None or args.null:
        raise UsageError("--file and --null are about lists of commands, not about a script")
    from simple_gpu_scheduler.queue.worktrees.scripts import read_script

    text = read_script(script)
    args = parser().parse_args([*_head(text, script), *ours])
    arguments = [*args.command[args.script is None :], *theirs]
    command = as_script(os.fsencode(shlex.join([script, *arguments])))
    return args, _Work([_line(command)], script=text)


def _parsed(ours: Sequence[str], words: Sequence[str]) -> argparse.Namespace:
    try:
        return parser().parse_args(ours)
    except UsageError as error:
        if _SEPARATOR in words or not str(error).startswith("unrecognized"):
            raise
        raise UsageError(
            f"{error}; options of the command's own follow --, as in: sgs submit -- train --lr 0.1"
        ) from None


def _misplaced(word: str) -> str:
    """Of a word that is neither an option of ours nor a part of the command."""
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
    """The options at the head of a script, checked."""
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


def _commands(args: argparse.Namespace, words: Sequence[str]) -> _Work:
    if not words:
        return _Work(_listed(args), is_list=True)
    if args.file is not None or args.null:
        raise UsageError("--file and --null are about lists of commands; there is one here")
    if not "".join(words).strip():
        raise UsageError("the command is empty")
    return _Work([_line(os.fsencode(words[0] if len(words) == 1 else shlex.join(words)))])


def _line(command: bytes) -> Line:
    return Line(1, command, find_command_error(command))


def _listed(args: argparse.Namespace) -> Sequence[Line]:
    if args.file in (None, "-"):
        if os.isatty(0):
            _say("reading commands, one a line; ^D ends them")
        return list(_lines(0, null=args.null))
    try:
        with open(args.file, "rb") as file:
            return list(_lines(file.fileno(), null=args.null))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"--file {args.file!r} can't be read: {reason}") from None


def _lines(fd: int, *, null: bool) -> Iterator[Line]:
    source = LineSource(fd, b"\0" if null else b"\n")
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while not source.at_end:
        if source.wants_input:
            poll.poll()  # it may be one that doesn't block
            source.fill()
        while (line := source.take()) is not None:
            if line.command and not line.command.isspace():
                yield line


def _requests(asked: Asked, work: _Work) -> Iterator[JobRequest]:
    for line in work.lines:
        try:
            if line.reason:
                raise UsageError(f"the command {line.reason}")
            yield request_of(asked, line.command)
        except UsageError as error:
            where = f"command {line.seq}: " if work.is_list else ""
            raise UsageError(f"{where}{error}") from None


def _context() -> Context:
    umask = os.umask(0)
    os.umask(umask)
    try:
        return Context(os.getcwdb(), kept(os.environb.items()), umask)
    except FileNotFoundError:
        raise UsageError("this folder is gone; the job could not run in it") from None


def _with(context: Context, name: bytes, value: bytes) -> Context:
    environ = dict(context.environ) | {name: value}
    return context._replace(environ=tuple(sorted(environ.items())))


# what became of it


def _tell(asked: Asked, found: Sequence[Submitted]) -> None:
    """Say what is to be said, and print the numbers, last."""
    if not found:
        _say("there is no command; nothing is added")
    _tell_of_known(found) if asked.is_list else _tell_of_one(found[0])
    if asked.request.not_before_s is not None and os.isatty(2):
        from simple_gpu_scheduler.units.times import format_time

        _say(f"not before {format_time(asked.request.not_before_s, None)}")
    print_lines(*[str(one.id) for one in found])
    sys.stdout.flush()


def _tell_of_one(one: Submitted) -> None:
    if one.retried:
        _say(f"job {one.id} has that key and had not succeeded; it is queued again")
    elif not one.new:
        _say(f"job {one.id} has that key: {one.state}{_how_to_retry(one.state)}")


def _how_to_retry(state: str) -> str:
    if state not in (FAILED, CANCELLED, LOST):
        return ""
    return "; to run it again: sgs retry, or --retry-failed here"


def _tell_of_known(found: Sequence[Submitted]) -> None:
    known = [one for one in found if not one.new]
    if not known:
        return
    states = Counter("queued again" if one.retried else one.state for one in known)
    ended = next((state for state in states if _how_to_retry(state)), "")
    text = ", ".join(f"{count} {state}" for state, count in states.items())
    new = len(found) - len(known)
    _say(f"{new} added; of the others, which were there, {text}{_how_to_retry(ended)}")


def _say(text: str) -> None:
    print_stderr(f"sgs submit: {text}")
