"""`sgs top`: a dashboard of the queue, the GPUs and the logs, in the terminal."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence

from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.units.durations import parse_duration_s

_DESCRIPTION = """\
Watch the GPUs, the jobs of the queue and the log of one of them. Cancel, hold, release or retry
jobs, or change their priority. Each action has a key. The last line shows the keys, and ? lists
all of them.

It reads the queue when the queue changes, and asks the driver every few seconds. It asks nothing
of the server. Colours are the terminal's own; NO_COLOR=1 turns them off."""

_EPILOG = """\
exit status: 0; 2 where there is no terminal (programs read sgs status --json).

examples:
  sgs top
  sgs top --interval 10s      ask the driver less often
  sgs top --key hold=x --key cancel=delete,C
  ssh -t server sgs top"""
_LEAST_INTERVAL_S = 0.5


def main(argv: Sequence[str]) -> int:
    """Show the dashboard until the user quits; returns the exit status.

    Raises:
        UsageError: there is no terminal.
        SgsError: Textual isn't installed, or the queue can't be used.
    """
    args = _parser().parse_args(argv)
    interval_s = parse_duration_s(args.interval, "--interval")
    if interval_s < _LEAST_INTERVAL_S:
        raise UsageError(f"--interval {args.interval}: expected at least {_LEAST_INTERVAL_S:g} s")
    if importlib.util.find_spec("textual") is None:
        raise SgsError(
            "sgs top needs Textual, which is not installed; it is the extra `top` of "
            "simple-gpu-scheduler: pip install './packages/scheduler[top]' in its repository"
        )
    _check_terminal()
    return _run(interval_s, args.key)


def _check_terminal() -> None:
    streams = {"stdin": sys.stdin, "stdout": sys.stdout, "stderr": sys.stderr}
    for name, stream in streams.items():
        if stream is None or not stream.isatty():
            raise UsageError(
                f"sgs top needs a terminal, but {name} is not a terminal; see sgs status, or sgs "
                "status --json for programs (over ssh: ssh -t)"
            )
    if os.environ.get("TERM", "dumb") == "dumb":
        raise UsageError(
            "sgs top needs a terminal that can move its cursor, and TERM says it can't; see sgs "
            "status"
        )


def _run(interval_s: float, keys: Sequence[str]) -> int:
    from simple_gpu_scheduler.cli.gpus import table as gpus_report
    from simple_gpu_scheduler.cli.queue.jobs import how_it_ended
    from simple_gpu_scheduler.queue.home import QueueHome
    from simple_gpu_scheduler.top.app import TopApp
    from simple_gpu_scheduler.top.bindings import parse_keymap
    from simple_gpu_scheduler.top.screen.board import Formatters

    if (
        os.environ.get("NO_COLOR") == ""
    ):  # which Textual takes for yes, https://no-color.org for no
        del os.environ["NO_COLOR"]
    keymap = parse_keymap(keys)
    home = QueueHome()
    formatters = Formatters(how_it_ended, gpus_report.short_names, gpus_report.table)
    app = TopApp(home, formatters, interval_s)
    app.set_keymap(keymap)
    app.run(mouse=False)  # so that the terminal selects and copies text as ever
    home.store.close()
    return app.return_code or 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sgs top",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument(
        "--interval", default="3s", metavar="TIME",
        help="time between two questions to the driver (default 3s, minimum 500ms)",
    )  # fmt: skip
    parser.add_argument(
        "--key", action="append", default=[], metavar="ACTION=KEYS",
        help="use other keys for an action: hold=x or cancel=delete,C; may be given several times",
    )  # fmt: skip
    return parser
