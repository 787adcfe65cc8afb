"""`sgs completion`: what makes a shell complete our commands, and what it asks of us then."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from simple_gpu_scheduler.cli.completion.spec import (
    GPUS,
    GROUPS,
    JOBS,
    NAMES,
    STATES_OF,
    commands,
)
from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.queue.home import QueueHome, home_if_any
from simple_gpu_scheduler.queue.records import RUNNING
from simple_gpu_scheduler.queue.wrapped_command import own_command
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.text.terminal import crop

_EPILOG = """\
Commands are completed, their options, the numbers of jobs with their states, groups, names, GPUs
and files. To have that from the next shell on:

  bash   sgs completion bash > ~/.local/share/bash-completion/completions/sgs
         (where bash-completion isn't installed: echo 'eval "$(sgs completion bash)"' >> ~/.bashrc)
  zsh    sgs completion zsh > ~/.zfunc/_sgs       (a folder of $fpath, before compinit runs; or:
         eval "$(sgs completion zsh)" after it, in ~/.zshrc)
  fish   sgs completion fish > ~/.config/fish/completions/sgs.fish

The scripts ask `sgs completion jobs COMMAND`, `groups`, `names` and `gpus`, which print a
candidate a line, with a tab and what is to be known of it."""

_SHELLS = ("bash", "zsh", "fish")
_KINDS = (JOBS, GROUPS, NAMES, GPUS)
_MOST = 200  #: candidates
_MOST_ABOUT = 60
_COLUMNS = {GROUPS: "group_name", NAMES: "name"}


def main(argv: Sequence[str]) -> int:
    """Print the script, or the candidates; returns the exit status."""
    if argv and argv[0] in _KINDS:
        for value, about in _candidates(argv[0], argv[1] if len(argv) > 1 else None):
            if value.isprintable():  # else no shell could have it on a line
                print(f"{value}\t{crop(printable(about), _MOST_ABOUT)}")
        return 0
    print(_script(_parser().parse_args(argv).shell), end="")
    return 0


def _candidates(kind: str, command: str | None) -> Iterator[tuple[str, str]]:
    """What may be meant, and what is to be known of it; nothing is created by looking."""
    home = home_if_any()
    if kind == GPUS:
        from simple_gpu_scheduler.cli.overview import gpus_and_states

        yield from gpus_and_states(home) or ()
    elif home is not None:
        yield from _jobs(home, command) if kind == JOBS else _counted(home, _COLUMNS[kind])


def _script(shell: str) -> str:
    import importlib

    from simple_gpu_scheduler.cli.sgs import COMMANDS

    module = importlib.import_module(f"simple_gpu_scheduler.cli.completion.{shell}")
    text: str = module.script(commands(COMMANDS))
    return text


def _jobs(home: QueueHome, command: str | None) -> Iterator[tuple[str, str]]:
    """The jobs that the command could do something about: those that run, then the latest ones."""
    states = STATES_OF.get(command or "", ())
    running = home.store.entries(states=[RUNNING]) if not states or RUNNING in states else []
    others = home.store.entries(states=states, order="latest", most=_MOST)
    for one in (*running, *(one for one in others if one.state != RUNNING)):
        yield str(one.id), f"{one.state}: {own_command(one.command).decode(errors='replace')}"


def _counted(home: QueueHome, column: str) -> Iterator[tuple[str, str]]:
    rows = home.store.file.all(
        f"SELECT {column}, count(*) FROM jobs WHERE {column} != '' GROUP BY {column} "
        f"ORDER BY max(id) DESC LIMIT {_MOST}"
    )
    for value, number in rows:
        yield value, f"{number} job{'' if number == 1 else 's'}"


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sgs completion",
        allow_abbrev=False,
        description="Print a script that makes a shell complete sgs, simple_gpu_scheduler and "
        "simple_hypersearch.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=_SHELLS)
    return parser
