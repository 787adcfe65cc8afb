"""`sgs lease`: run a command on GPUs that nobody else gets meanwhile."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Sequence

from simple_gpu_scheduler.allocation.acquire import GpusBusyError
from simple_gpu_scheduler.cli.parser import BY_ON, Parser, gpu_count
from simple_gpu_scheduler.client import Taken, take
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.processes.runner import IGNORED_BY_PYTHON
from simple_gpu_scheduler.system.fds import print_stderr
from simple_gpu_scheduler.units.durations import parse_duration_s

#: The exit status if no GPU was free: EX_TEMPFAIL of sysexits.h, "try again later".
BUSY = 75

_DESCRIPTION = """\
Run a command, such as a shell, on GPUs that nobody else gets meanwhile.

The command replaces this process and keeps its pid. It holds the lease until it and all of its
child processes have ended. CUDA_VISIBLE_DEVICES names its GPUs. A scheduler that you start in it
uses these GPUs."""

_EPILOG = """\
exit status: that of the command, or
  1    the lease can't be taken
  2    wrong usage
  75   the GPUs were not free (--no-wait, --timeout)
  126  the command can't be run
  127  there is no such command

Sizes: M is MiB and G is GiB: 512M, 10G.

examples:
  sgs lease -- bash                         a shell on a GPU of its own
  sgs lease --gpus 2 -- torchrun train.py   any two GPUs, once two are free
  sgs lease --on 0,3 -- python train.py     both GPU 0 and GPU 3
  sgs lease --on 0,3 --gpus 1 -- bash       one of GPU 0 and GPU 3
  sgs lease --no-wait -- jupyter lab || echo "no GPU is free"
"""


def main(argv: Sequence[str]) -> int:
    """Lease GPUs and become the command; returns an exit status only if that fails.

    Raises:
        UsageError: there is no command, or there are no such GPUs.
        SgsError: the lease can't be taken, or the command can't be run.
    """
    args = _parser().parse_args(argv)
    if not args.command:
        raise UsageError(
            "no command; expected one after --, as in: sgs lease -- bash (see sgs lease --help)"
        )
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
    except ValueError as error:  # a NUL in an argument
        raise SgsError(f"the command can't be run: {error}") from None
    finally:
        taken.release()


def _say(text: str) -> None:
    print_stderr(f"sgs lease: {text}")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="sgs lease", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument(
        "--gpus",
        type=gpu_count(BY_ON),
        metavar="N",
        help="number of GPUs to lease (default 1; with --on: all that are named); to choose ids: "
        "--on",
    )
    parser.add_argument(
        "--on",
        metavar="ID,...",
        help="ids of the GPUs to choose from, such as 0,1, or UUIDs (default: all GPUs of the "
        "machine, within CUDA_VISIBLE_DEVICES if that is set)",
    )
    parser.add_argument(
        "--vram",
        metavar="SIZE",
        help="GPU memory to lease on each GPU, such as 10G; others may use the rest "
        "(default: whole GPUs)",
    )
    waiting = parser.add_mutually_exclusive_group()
    waiting.add_argument(
        "--wait",
        action="store_true",
        help="wait until the GPUs are free, without a limit (the default)",
    )
    waiting.add_argument(
        "--no-wait",
        action="store_true",
        help="give up at once, with exit status 75, if the GPUs are not free",
    )
    waiting.add_argument(
        "--timeout",
        metavar="DURATION",
        help="give up, with exit status 75, if the GPUs are not free after this time: 90 "
        "(seconds), 30m, 2h; 0: at once (default: no limit)",
    )
    parser.add_argument(
        "--kind",
        choices=("shell", "job", "notebook"),
        default="shell",
        help="what the GPUs are used for, as others see it in sgs gpus (default shell)",
    )
    parser.add_argument(
        "command", nargs="*", metavar="-- command", help="command to run, with its arguments"
    )
    return parser
