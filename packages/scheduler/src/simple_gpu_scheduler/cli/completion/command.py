"""`sgs completion`: print the script for a shell, or the values that the script asks for."""

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

_DESCRIPTION = """\
Print a script that makes a shell complete sgs, simple_gpu_scheduler and simple_hypersearch: their
commands and options, and the numbers of jobs (with their states), groups, names, GPUs and files.
It works in the next shell that you open."""

_EPILOG = """\
Without bash-completion: echo 'eval "$(sgs completion bash)"' >> ~/.bashrc
In zsh, ~/.zfunc must be in $fpath before compinit runs. Or write `eval "$(sgs completion zsh)"`
into ~/.zshrc, after compinit.

The scripts call `sgs completion jobs COMMAND`, `groups`, `names` and `gpus`. Each prints one
value per line, followed by a tab and a description.

examples:
  sgs completion bash > ~/.local/share/bash-completion/completions/sgs
  sgs completion zsh > ~/.zfunc/_sgs
  sgs completion fish > ~/.config/fish/completions/sgs.fish"""

_SHELLS = ("bash", "zsh", "fish")
_KINDS = (JOBS, GROUPS, NAMES, GPUS)
_MOST = 200  #: values that are offered
_MOST_DESCRIPTION = 60  #: width of a description
_COLUMNS = {GROUPS: "group_name", NAMES: "name"}


def main(argv: Sequence[str]) -> int:
    """Print the script, or the values of a kind; returns the exit status."""
    if argv and argv[0] in _KINDS:
        for value, description in _values(argv[0], argv[1] if len(argv) > 1 else None):
            if value.isprintable():  # a shell reads one value a line
                print(f"{value}\t{crop(printable(description), _MOST_DESCRIPTION)}")
        return 0
    print(_script(_parser().parse_args(argv).shell), end="")
    return 0


def _values(kind: str, command: str | None) -> Iterator[tuple[str, str]]:
    """Yield values of a kind with their descriptions. This creates no file."""
    home = home_if_any()
    if kind == GPUS:
        from simple_gpu_scheduler.cli.overview import read_gpu_states

        yield from read_gpu_states(home) or ()
    elif home is not None:
        yield from _jobs(home, command) if kind == JOBS else _counted(home, _COLUMNS[kind])


def _script(shell: str) -> str:
    import importlib

    from simple_gpu_scheduler.cli.sgs import COMMANDS

    module = importlib.import_module(f"simple_gpu_scheduler.cli.completion.{shell}")
    text: str = module.script(commands(COMMANDS))
    return text


def _jobs(home: QueueHome, command: str | None) -> Iterator[tuple[str, str]]:
    """Yield the jobs on which the command can act: running ones first, then the latest ones."""
    states = STATES_OF.get(command or "", ())
    running = home.store.entries(states=[RUNNING]) if not states or RUNNING in states else []
    others = home.store.entries(states=states, order="latest", most=_MOST)
    for job in (*running, *(job for job in others if job.state != RUNNING)):
        yield str(job.id), f"{job.state}: {own_command(job.command).decode(errors='replace')}"


def _counted(home: QueueHome, column: str) -> Iterator[tuple[str, str]]:
    rows = home.store.file.all(
        f"SELECT {column}, count(*) FROM jobs WHERE {column} != '' GROUP BY {column} "
        f"ORDER BY max(id) DESC LIMIT {_MOST}"
    )
    for value, number in rows:
        yield value, f"{number} job{'' if number == 1 else 's'}"


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="sgs completion", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("shell", choices=_SHELLS, help="shell to print the script for")
    return parser
