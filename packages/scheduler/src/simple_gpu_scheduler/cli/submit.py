"""`sgs submit`: put jobs into the queue."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence

from simple_gpu_scheduler.adapters.queue_home import QueueHome
from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.cli.queued_jobs import job_ids
from simple_gpu_scheduler.directives import apply_directives
from simple_gpu_scheduler.durations import parse_duration_s
from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.memory_sizes import parse_memory_mib
from simple_gpu_scheduler.model import GPU_UNITS, MAX_JOBS_PER_GPU, Job, share_units
from simple_gpu_scheduler.queue.records import Context, Request

_EXAMPLES = """\
examples:
  sgs submit -- python train.py --lr 0.1
  sgs submit --gpus 2 --timeout 8h -- torchrun --nproc-per-node 2 train.py
  sgs submit --after 3 -- python evaluate.py
  simple_hypersearch "python train.py --lr {lr}" -p lr 0.1 0.01 | sgs submit --group lr

It prints the number of each job, when that can't be lost any more. The job runs in this folder,
with this environment and umask, as soon as GPUs are free; `sgs logs ID` has its output. Several
words are one command, as they stand; one word is handed to /bin/sh. Without a command, each line
of stdin is one; all are accepted, or none. A command may say what it needs:
python train.py  # sgs: gpus=2

With --key, what is queued, runs or is done under that key is not added again: its number is
printed.
"""


def main(argv: Sequence[str]) -> int:
    """Submit; returns the exit status.

    Raises:
        UsageError: it can't be what was meant.
        SgsError: the queue can't be written; nothing was accepted.
    """
    args = _parser().parse_args(argv)
    commands = [_one(args.command)] if args.command else list(_lines())
    requests = [_request(args, command) for command in commands]
    if args.key is not None and len(requests) > 1:
        raise UsageError(f"--key is for one command, not for {len(requests)}")
    home = QueueHome()
    found = home.store.submit(_context(), requests, time.time())
    for one in found:
        if not one.new:
            print(f"sgs submit: job {one.id} has that key: {one.state}", file=sys.stderr)
    for one in found:
        print(one.id)
    sys.stdout.flush()
    home.wake()
    return 0


def _one(words: Sequence[str]) -> bytes:
    return os.fsencode(words[0] if len(words) == 1 else shlex.join(words))


def _lines() -> Iterator[bytes]:
    if os.isatty(0):
        print("sgs submit: reading commands, one a line; ^D ends them", file=sys.stderr)
    for line in sys.stdin.buffer:
        command = line.rstrip(b"\r\n")
        if command and not command.isspace():
            yield command


def _request(args: argparse.Namespace, command: bytes) -> Request:
    if b"\0" in command:
        raise UsageError("a command has a NUL byte, which no program can be given")
    memory_mib = None if args.vram is None else parse_memory_mib(args.vram, "--vram")
    units = GPU_UNITS if memory_mib is None else share_units(MAX_JOBS_PER_GPU)
    timeout_s = None if args.timeout is None else parse_duration_s(args.timeout, "--timeout")
    asked = Job(1, command, args.gpus, units, timeout_s or None, args.retries, 1, memory_mib)
    job = apply_directives(asked)
    if job.gpus < 1:
        raise UsageError(f"--gpus {job.gpus}: expected 1 or more")
    return Request(
        command,
        job.gpus,
        job.units,
        job.memory_mib,
        priority=args.priority,
        after=tuple(job_ids(args.after)),
        after_any=tuple(job_ids(args.after_any)),
        not_before_s=None if args.delay is None else time.time() + _delay_s(args.delay),
        timeout_s=job.timeout_s,
        tries=job.tries,
        name=args.name,
        group=args.group,
        key=args.key,
        held=args.hold,
    )


def _delay_s(text: str) -> float:
    return parse_duration_s(text, "--delay")


def _context() -> Context:
    umask = os.umask(0)
    os.umask(umask)
    environ = tuple(sorted(one for one in os.environb.items() if one[0] != b"SGS_LEASE"))
    try:
        return Context(os.getcwdb(), environ, umask)
    except FileNotFoundError:
        raise UsageError("this folder is gone; the job could not run in it") from None


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sgs submit",
        allow_abbrev=False,
        description="Put jobs into the queue of this user and machine, which no crash loses.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--gpus", type=int, default=1, metavar="N", help="GPUs it needs at once (default 1)")
    add("--vram", metavar="SIZE", help="so much memory of each, such as 10G: others may share it")
    add("--priority", type=int, default=0, metavar="P", help="higher ones start first (default 0)")
    add("--after", action="append", default=[], metavar="ID,...", help="once these succeeded")
    add("--after-any", action="append", default=[], metavar="ID,...", help="once these ended")
    add("--delay", metavar="DURATION", help="not before so long from now: 90, 30m, 2h")
    add("--timeout", metavar="DURATION", help="then TERM to its processes, and KILL after 10 s")
    add("--retries", type=int, default=1, metavar="N", help="run up to N times while it fails")
    add("--name", default="", help="what to call it")
    add("--group", default="", metavar="G", help="of which it is one")
    add("--key", metavar="K", help="not if there is one of this key that didn't fail")
    add("--hold", action="store_true", help="until sgs release")
    add("command", nargs="*", metavar="-- command")
    return parser
