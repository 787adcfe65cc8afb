"""`sgs`: one command with all of this package's subcommands."""

from __future__ import annotations

import os
import sys

from simple_gpu_scheduler import __version__
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.system.fds import print_lines, print_stderr

#: By name: the module in `cli` whose `main(argv)` runs it (or MODULE:FUNCTION), and what it does.
COMMANDS = {
    "run": (
        "run.command",
        "run the commands of stdin on free GPUs (the same as simple_gpu_scheduler)",
    ),
    "search": (
        "search",
        "print the commands of a hyperparameter search (the same as simple_hypersearch)",
    ),
    "submit": ("queue.submit", "put jobs into the queue, where no crash loses them"),
    "status": ("queue.status", "show the jobs of the queue"),
    "top": ("top", "watch the queue, the GPUs and the logs, and change the queue"),
    "logs": ("queue.logs", "print the output of a job of the queue"),
    "wait": ("queue.wait", "wait until jobs of the queue have ended"),
    "cancel": ("queue.change:cancel", "end jobs of the queue"),
    "hold": ("queue.change:hold", "hold queued jobs: they do not start until you run sgs release"),
    "release": ("queue.change:release", "release held jobs, so that they can start"),
    "retry": ("queue.change:retry", "queue jobs again that failed, were cancelled or lost"),
    "clean": ("queue.clean", "remove files of jobs that have ended, or the jobs themselves"),
    "edit": ("queue.edit", "change jobs of the queue that have not started"),
    "report": ("queue.report", "show what jobs of the queue used, and how they ended"),
    "server": ("queue.server", "show, start, stop or pause the server of the queue"),
    "lease": (
        "gpus.lease",
        "run a command, such as a shell, on GPUs that nobody else gets meanwhile",
    ),
    "explain": (
        "gpus.explain",
        "show which GPUs a job would get now and why, or why it would wait",
    ),
    "results": ("results", "show the metrics of the jobs of a results directory, best first"),
    "simulate": (
        "simulate",
        "show what scheduling policies would do with the jobs of a trace, without running them",
    ),
    "gpus": ("gpus.gpus", "show the GPUs, who has them, and which are free"),
    "completion": (
        "completion.command",
        "print a script that makes bash, zsh or fish complete these commands",
    ),
}

USAGE = """\
usage: sgs COMMAND [ARGUMENTS]   (sgs COMMAND --help; sgs --version)
       sgs                       show what runs, what waits, and which GPUs are free"""

EXAMPLES = """\
examples:
  sgs lease -- bash
  sgs search "python train.py --lr {lr}" -p lr 0.1 0.01 | sgs run --gpus 0,1 --results runs/lr
  sgs submit -- python train.py --lr 0.1
  sgs status
  sgs results runs/lr
  sgs results runs/lr --sort val_loss --top 3
  sgs gpus
  sgs explain --gpus 2
  sgs simulate --synthetic 1000 --gpus 8 --memory 80G"""


def help_text() -> str:
    """Return the help: usage, the subcommands, and examples."""
    lines = [USAGE, "", "commands:"]
    lines += [f"  {name:<12}{what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join([*lines, "", EXAMPLES])


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand; return the exit status: 0, 1 for an error, 2 for wrong usage."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        _open_missing_stdout(arguments)
        if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")
        status = _dispatch(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except UsageError as error:
        return _fail(str(error), 2)
    except SgsError as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells say
    except BrokenPipeError:  # nobody reads stdout any more, as with `| head`
        _silence_stdout()
        return 141  # 128 + SIGPIPE
    except OSError as error:
        return _fail(str(error), 1)
    return status


def _dispatch(arguments: list[str]) -> int:
    if not arguments:
        from simple_gpu_scheduler.cli.overview import overview

        print_lines(*overview())
        return 0
    name, *rest = arguments
    if name in ("-h", "--help", "help"):
        print_lines(*help_text().splitlines())
        return 0
    if name in ("-V", "--version"):
        print_lines(f"sgs {__version__}")
        return 0
    if name not in COMMANDS:
        raise UsageError(_unknown(name))
    import importlib

    module, _, function = COMMANDS[name][0].partition(":")
    status = getattr(
        importlib.import_module(f"simple_gpu_scheduler.cli.{module}"), function or "main"
    )(rest)
    return int(status or 0)


def _unknown(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    what = "option" if name.startswith("-") else "command"
    return f"unknown {what} {name!a}{hint} (commands: {', '.join(COMMANDS)}; see sgs --help)"


def _fail(message: str, status: int) -> int:
    _flush_or_silence_stdout()
    print_stderr(f"sgs: error: {message}")
    return status


def _open_missing_stdout(arguments: list[str]) -> None:
    """Open /dev/null as stdout if that is closed, so that no file of ours gets its descriptor."""
    if sys.stdout is None and arguments[:1] not in (["run"], ["results"]):  # they do it themselves
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def _flush_or_silence_stdout() -> None:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:  # perhaps the very error that is to be printed
        _silence_stdout()


def _silence_stdout() -> None:
    """Write stdout to /dev/null, so that Python's flush at exit succeeds."""
    try:
        descriptor = sys.stdout.fileno()
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, descriptor)
        os.close(devnull)
    except (OSError, ValueError, AttributeError):
        pass  # stdout is closed, or it is no file
