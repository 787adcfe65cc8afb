"""`sgs submit`: put jobs into the queue."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from simple_gpu_scheduler.cli.queue.submit_input import Work, read_command_line
from simple_gpu_scheduler.cli.queue.submit_request import (
    CommonRequest,
    common_request,
    request_for,
)
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.jobs.validation import find_command_error
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
    freeze_code,
    frozen,
)
from simple_gpu_scheduler.system.fds import print_lines, print_stderr

_Submit = Callable[[QueueHome, Context, Iterable[JobRequest]], list[Submitted]]


def main(argv: Sequence[str]) -> int:
    """Submit; returns the exit status.

    Raises:
        UsageError: an option or a command is wrong; no job was accepted.
        SgsError: the queue can't be written, and no job was accepted; or the numbers of the
            accepted jobs can't be printed, and the message has them.
    """
    args, work = read_command_line(argv)
    common = common_request(args, is_list=work.is_list, now_s=time.time())
    context = _context()
    home = QueueHome()
    submit = _submit_frozen if args.freeze else _submit
    if work.script is None:
        submitted = submit(home, context, _requests(common, work))
    else:
        submitted = _submit_script(home, context, _requests(common, work), work.script, submit)
    _start_server(
        home, len(submitted)
    )  # before printing: a job whose number was seen must run, even after a kill
    try:
        _report(common, submitted)
    except BrokenPipeError:
        raise
    except OSError as error:
        ids = numbers([job.id for job in submitted]) or "none"
        raise SgsError(
            f"accepted are the jobs {ids}, but that can't be printed: {error.strerror}"
        ) from None
    return 0


def _submit(home: QueueHome, context: Context, requests: Iterable[JobRequest]) -> list[Submitted]:
    return home.store.submit(context, requests, time.time())


def _submit_script(
    home: QueueHome, context: Context, requests: Iterable[JobRequest], text: bytes, submit: _Submit
) -> list[Submitted]:
    """Submit a script, with a copy of its text."""
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
        environ = tuple(pair for pair in context.environ if not names_a_repository(pair[0]))
        context = Context(os.fsencode(home.folder), environ, context.umask)
        code = freeze_code(sys.executable, home.folder, snapshot)
        frozen_requests = (
            request._replace(command=_checked(frozen(request.command)), snapshot=snapshot)
            for request in requests
        )
        return _submit(home, _with(context, FREEZE_VARIABLE, code), frozen_requests)


def _checked(command: bytes) -> bytes:
    if (reason := find_command_error(command)) is not None:
        raise UsageError(f"the command {reason}")
    return command


def _start_server(home: QueueHome, jobs: int) -> None:
    try:
        home.start_server()
    except (SgsError, OSError) as error:
        accepted = "the job is" if jobs == 1 else "the jobs are"
        _say(f"{accepted} accepted, but no server runs: {error}; run sgs server start --gpus 0,1")


def _requests(common: CommonRequest, work: Work) -> Iterator[JobRequest]:
    for line in work.lines:
        try:
            if line.reason:
                raise UsageError(f"the command {line.reason}")
            yield request_for(common, line.command)
        except UsageError as error:
            where = f"command {line.seq}: " if work.is_list else ""
            raise UsageError(f"{where}{error}") from None


def _context() -> Context:
    umask = os.umask(0)
    os.umask(umask)
    try:
        return Context(os.getcwdb(), kept(os.environb.items()), umask)
    except FileNotFoundError:
        raise UsageError("this folder was removed, so the job can't run in it") from None


def _with(context: Context, name: bytes, value: bytes) -> Context:
    environ = dict(context.environ) | {name: value}
    return context._replace(environ=tuple(sorted(environ.items())))


def _report(common: CommonRequest, submitted: Sequence[Submitted]) -> None:
    """Print remarks on stderr, and then the numbers of the jobs."""
    if not submitted:
        _say("there is no command; nothing is added")
    _report_list(submitted) if common.is_list else _report_job(submitted[0])
    if common.request.not_before_s is not None and os.isatty(2):
        from simple_gpu_scheduler.units.times import format_time

        _say(f"not before {format_time(common.request.not_before_s, None)}")
    print_lines(*[str(job.id) for job in submitted])
    sys.stdout.flush()


def _report_job(job: Submitted) -> None:
    if job.retried:
        _say(f"job {job.id} has this key and had not succeeded; it is queued again")
    elif not job.new:
        _say(f"job {job.id} has this key: {job.state}{_how_to_retry(job.state)}")


def _how_to_retry(state: str) -> str:
    if state not in (FAILED, CANCELLED, LOST):
        return ""
    return "; to run it again: sgs retry, or --retry-failed here"


def _report_list(submitted: Sequence[Submitted]) -> None:
    existing = [job for job in submitted if not job.new]
    if not existing:
        return
    states = Counter("queued again" if job.retried else job.state for job in existing)
    ended = next((state for state in states if _how_to_retry(state)), "")
    text = ", ".join(f"{count} {state}" for state, count in states.items())
    new = len(submitted) - len(existing)
    _say(f"{new} added; already in the queue: {text}{_how_to_retry(ended)}")


def _say(text: str) -> None:
    print_stderr(f"sgs submit: {text}")
