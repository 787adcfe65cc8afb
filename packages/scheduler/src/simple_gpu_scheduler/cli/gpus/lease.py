"""`sgs lease`: run a command on GPUs that are then nobody else's."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Sequence

from simple_gpu_scheduler.allocation.acquire import GpusBusyError
from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.client import Taken, take
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.processes.runner import IGNORED_BY_PYTHON
from simple_gpu_scheduler.system.fds import print_stderr
from simple_gpu_scheduler.units.durations import parse_duration_s

#: EX_TEMPFAIL of sysexits.h: try again later.
BUSY = 75

_EXAMPLES = """\
examples:
  sgs lease -- bash                         a shell on a GPU of its own
  sgs lease --gpus 2 -- torchrun train.py   two GPUs, waiting until two are free
  sgs lease --on 0,3 -- python train.py     these very GPUs
  sgs lease --on 0,3 --gpus 1 -- bash       one of these
  sgs lease --no-wait -- jupyter lab || echo "no GPU is free"

The command takes this process's place (same pid) and holds the lease until it and the processes
that inherit from it have ended. It sees its GPUs in CUDA_VISIBLE_DEVICES; a scheduler started in
it uses them.

exit status: the command's; 75 the GPUs were not free (--no-wait, --timeout), 126 the command can't
be run, 127 there is no such command, 2 usage, 1 leases can't be had.
"""


def main(argv: Sequence[str]) -> int:
    """Become the command; returns an exit status only if that can't be."""
    args = _parser().parse_args(argv)
    if not args.command:
        raise UsageError("no command; expected such as: sgs lease -- bash (see sgs lease --help)")
    try:
        taken = take(
            gpus=args.gpus,
            on=args.on,
            vram=args.vram,
            timeout_s=_timeout_s(args),
            kind=args.kind,
            tell=_say,
        )
    except GpusBusyError as error:
        _say(f"not free: {error}")
        return BUSY
    return _become(args.command, taken)


def _timeout_s(args: argparse.Namespace) -> float | None:
    if args.no_wait:
        return 0.0
    return None if args.timeout is None else parse_duration_s(args.timeout, "--timeout")


def _become(command: list[str], taken: Taken) -> int:
    os.set_inheritable(taken.lease.fd, True)
    for number in IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, {**os.environ, **taken.environ})
    except FileNotFoundError:
        _say(f"error: {command[0]!r}: no such command")
        return 127
    except OSError as error:
        _say(f"error: {command[0]!r} can't be run: {error.strerror}")
        return 126
    except ValueError as error:  # a NUL in a word
        raise SgsError(f"the command can't be run: {error}") from None
    finally:
        taken.release()


def _say(text: str) -> None:
    print_stderr(f"sgs lease: {text}")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sgs lease",
        allow_abbrev=False,
        description="Run a command on GPUs that nobody else gets meanwhile.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--gpus",
        type=int,
        metavar="N",
        help="how many, whichever are free (default 1; with --on: all of these)",
    )
    parser.add_argument("--on", metavar="ID,...", help="of these GPUs, as 0,1 or by UUID")
    parser.add_argument(
        "--vram", metavar="SIZE", help="so much memory of each, such as 10G: others may share it"
    )
    waiting = parser.add_mutually_exclusive_group()
    waiting.add_argument("--wait", action="store_true", help="until they are free (the default)")
    waiting.add_argument("--no-wait", action="store_true", help="give up at once (status 75)")
    waiting.add_argument(
        "--timeout", metavar="DURATION", help="give up after so long: 90, 30m, 2h; 0: at once"
    )
    parser.add_argument(
        "--kind",
        choices=("shell", "job", "notebook"),
        default="shell",
        help="what others see that it is for (default shell)",
    )
    parser.add_argument("command", nargs="*", metavar="-- command")
    return parser
