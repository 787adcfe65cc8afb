"""The options of `sgs submit`, and what they ask for."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import NamedTuple

from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.jobs.job import GPU_UNITS, MAX_JOBS_PER_GPU, Job, share_units
from simple_gpu_scheduler.jobs.validation import find_command_error
from simple_gpu_scheduler.queue.job_ids import job_ids
from simple_gpu_scheduler.queue.records import JobRequest
from simple_gpu_scheduler.units.durations import parse_duration_s
from simple_gpu_scheduler.units.sizes import parse_memory_mib

_EXAMPLES = """\
examples:
  sgs submit -- python train.py --lr 0.1
  sgs submit --gpus 2 --timeout 8h -- torchrun --nproc-per-node 2 train.py
  sgs submit --vram auto --at 'tomorrow 8:00' -- python train.py
  sgs submit --after 3 -- python evaluate.py
  sgs submit --script train.sh -- --lr 0.1
  sgs submit --freeze -- python train.py
  sgs submit --group lr --key lr --file commands.txt
  sgs submit --notify 'mail -s "job $SGS_JOB $SGS_STATE" me < "$SGS_LOG"' -- python train.py
  simple_hypersearch "python train.py --lr {lr}" -p lr 0.1 0.01 | sgs submit --group lr --key lr

It prints the number of each job, when that can't be lost any more. The job runs in this folder,
with this environment and umask, as soon as GPUs are free; `sgs logs ID` has its output. Several
words are one command, as they stand; one word is handed to /bin/sh. Without a command, each line
of stdin is one; all are accepted, or none. A command may say what it needs:
python train.py  # sgs: gpus=2 vram=auto priority=5

A script is kept as it is now, and runs so, whoever edits it meanwhile. It may say what it needs at
its head, in lines such as `#SGS --gpus 2 --vram 10G`, which options given here overrule; a file
that does is taken for a script without --script. What follows -- is the command's or the script's.

With --freeze, who edits the code meanwhile changes no job: the git work tree that this folder is
in is kept as it is now (but for what git ignores, to which the copy has links), and each job runs
in a copy of its own, $SGS_FROZEN, until `sgs clean` removes that. Packages that were installed by
pip install -e are imported from where they are.

--notify CMD runs after each job, by /bin/sh, once that has ended for good; in its environment are
SGS_JOB, SGS_STATE (succeeded, failed, cancelled, lost), SGS_EXIT_CODE, SGS_NAME, SGS_GROUP,
SGS_LOG and SGS_COMMAND. After a whole group: sgs wait --group G; CMD

The environment is kept in the queue's file, mode 0600, with the tokens that are in it, until
`sgs clean --finished`. Never kept are keys to sessions, such as JUPYTERHUB_API_TOKEN, and what
SGS_NEVER_KEEP names: SGS_NEVER_KEEP='AWS_SECRET_ACCESS_KEY,*_PASSWORD' sgs submit ...

With --key, what is queued, runs or is done under that key is not added again: its number is
printed. The commands of a list have a key each, made of K and the command, so that the same list
can be submitted again, and only what is new is added.
"""

_MOST = 10**9
_LARGEST_ID = 2**63 - 1


class Asked(NamedTuple):
    """What the options ask for, of each of the commands."""

    job: Job
    request: JobRequest
    is_list: bool  #: each has a key of its own


def asked_by(args: argparse.Namespace, *, is_list: bool, now_s: float) -> Asked:
    """Check the values.

    Raises:
        UsageError: naming the option at fault.
    """
    auto = args.vram == "auto"
    memory_mib = None if auto or args.vram is None else parse_memory_mib(args.vram, "--vram")
    timeout_s = None if args.timeout is None else parse_duration_s(args.timeout, "--timeout")
    job = Job(
        1, b"", args.gpus, _units(args.jobs_per_gpu, memory_mib), timeout_s or None,
        args.retries, 1, memory_mib, auto_memory=auto,
    )  # fmt: skip
    if job.gpus < 1:
        raise UsageError(f"--gpus {job.gpus}: expected 1 or more")
    if args.retry_failed and args.key is None:
        raise UsageError("--retry-failed is about jobs of the same --key; name one")
    request = JobRequest(
        b"",
        priority=args.priority,
        after=_needed(args.after),
        after_any=_needed(args.after_any),
        not_before_s=None if args.start is None else args.start(now_s),
        name=_text(args.name, "--name"),
        group=_text(args.group, "--group"),
        key=None if args.key is None else _text(args.key, "--key"),
        held=args.hold,
        notify=None if args.notify is None else _shell_code(args.notify, "--notify"),
        retry_failed=args.retry_failed,
        requeue=args.requeue,
        kill_leftovers=args.kill_leftovers,
    )
    return Asked(job, _with_job(request, job, args.priority), is_list)


def request_of(asked: Asked, command: bytes) -> JobRequest:
    """What is asked for with a command, which may say so itself.

    Raises:
        UsageError: it says so wrongly.
    """
    key = asked.request.key
    if key is not None and asked.is_list:
        import hashlib

        key = f"{key}:{hashlib.sha256(command).hexdigest()[:16]}"
    request = asked.request._replace(command=command, key=key)
    if b"#" not in command:
        return request
    from simple_gpu_scheduler.jobs.directives import apply_queue_directives  # few say it so

    return _with_job(
        request, *apply_queue_directives(asked.job._replace(command=command), request.priority)
    )


def _with_job(request: JobRequest, job: Job, priority: int) -> JobRequest:
    return request._replace(
        gpus=job.gpus,
        units=job.units,
        memory_mib=job.memory_mib,
        auto_memory=job.auto_memory and job.memory_mib is None,
        priority=priority,
        timeout_s=job.timeout_s,
        tries=job.tries,
    )


def _units(jobs_per_gpu: int | None, memory_mib: int | None) -> int:
    if jobs_per_gpu is None:
        return GPU_UNITS if memory_mib is None else share_units(MAX_JOBS_PER_GPU)
    if not 1 <= jobs_per_gpu <= MAX_JOBS_PER_GPU:
        raise UsageError(f"--jobs-per-gpu {jobs_per_gpu}: expected 1 to {MAX_JOBS_PER_GPU}")
    return share_units(jobs_per_gpu)


def _needed(words: list[str]) -> tuple[int, ...]:
    found = tuple(job_ids(words))
    if found and max(found) > _LARGEST_ID:
        raise UsageError(f"there is no job {max(found)}, which is to be waited for")
    return found


def _text(value: str, what: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{what} {value!r}: expected text in UTF-8") from None
    return value


def _shell_code(value: str, what: str) -> bytes:
    code = os.fsencode(value)
    if not code.strip():
        raise UsageError(f"{what} {value!r}: expected a command")
    reason = find_command_error(code)
    if reason is not None:
        raise UsageError(f"{what}: the command {reason}")
    return code


def whole_number(text: str) -> int:
    """Read one that a database can keep, of either sign."""
    try:
        number = int(text)
    except ValueError:
        number = _MOST + 1
    if abs(number) > _MOST:
        raise argparse.ArgumentTypeError(f"expected a whole number, not {text!r}")
    return number


def _tries(text: str) -> int:
    if (number := whole_number(text)) < 0:
        raise argparse.ArgumentTypeError(f"expected 0 (without end), 1 or more, not {text!r}")
    return number


def _delay(text: str) -> Callable[[float], float]:
    from simple_gpu_scheduler.units.times import after_s

    return lambda now_s: after_s(text, "--delay", now_s)


def _at(text: str) -> Callable[[float], float]:
    from simple_gpu_scheduler.units.times import parse_time_s

    return lambda now_s: parse_time_s(text, "--at", now_s, None)


def parser() -> argparse.ArgumentParser:
    """The parser; what is an error is one of usage."""
    found = Parser(
        prog="sgs submit",
        allow_abbrev=False,
        description="Put jobs into the queue of this user and machine, which no crash loses.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_needs(found.add_argument_group("what it needs").add_argument)
    _add_times(found.add_argument_group("when").add_argument)
    _add_names(found.add_argument_group("what to call it").add_argument)
    _add_sources(found.add_argument_group("what to run").add_argument)
    found.add_argument("command", nargs="*", metavar="-- command")
    return found


_Add = Callable[..., argparse.Action]


def _add_needs(add: _Add) -> None:
    add("--gpus", type=whole_number, default=1, metavar="N", help="GPUs at once (default 1)")
    add(
        "--vram",
        metavar="SIZE",
        help="so much memory of each, such as 10G: others may share it; auto: find it out",
    )
    add("--jobs-per-gpu", type=whole_number, metavar="K", help="so many such jobs share a GPU")
    add("--timeout", metavar="DURATION", help="then TERM to its processes, and KILL after 10 s")
    add("--retries", type=_tries, default=1, metavar="N", help="run up to N times while it fails")


def _add_times(add: _Add) -> None:
    add(
        "--priority",
        type=whole_number,
        default=0,
        metavar="P",
        help="higher ones first (default 0)",
    )
    add("--after", action="append", default=[], metavar="ID,...", help="once these succeeded")
    add("--after-any", action="append", default=[], metavar="ID,...", help="once these ended")
    add("--delay", dest="start", type=_delay, metavar="DURATION",
        help="not before so long from now: 90, 30m, 2h")  # fmt: skip
    add("--at", dest="start", type=_at, metavar="TIME",
        help="not before: 23:00, 'tomorrow 8:00', '2026-12-24 18:00', +2h")  # fmt: skip
    add("--notify", metavar="CMD", help="run CMD once it has ended, with $SGS_JOB, $SGS_STATE ...")
    add("--requeue", action="store_true", help="run it again if the machine goes down meanwhile")
    add("--kill-leftovers", action="store_true", help="end processes that it leaves behind")
    add("--hold", action="store_true", help="until sgs release")


def _add_names(add: _Add) -> None:
    add("--name", default="", help="of the job")
    add("--group", default="", metavar="G", help="of which it is one")
    add("--key", metavar="K", help="not if there is one of this key")
    add("--retry-failed", action="store_true", help="if the one of this key has failed, run that")


def _add_sources(add: _Add) -> None:
    add("--freeze", action="store_true", help="in a copy of this git work tree as it is now")
    add("--script", metavar="FILE", help="this script, as it is now")
    add("--file", metavar="FILE", help="each line of FILE is a command (-: of stdin)")
    add("--null", action="store_true", help="(or -0) what a NUL ends is a command, not a line")
