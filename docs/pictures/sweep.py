"""The picture of a finished sweep: commands of docs/tutorial-first-sweep.md in a shell."""

import re
from collections.abc import Mapping
from pathlib import Path

from drawing import HERE

from terminal import Terminal

_PAGE = HERE.parent / "tutorial-first-sweep.md"
_PROMPT = "$"
_LOOK = {"PS1": r"\[\e[1;32m\]$\[\e[0m\] ", "PS2": r"\[\e[1;32m\]>\[\e[0m\] "}
_TYPED = [
    'simple_hypersearch "python3 train.py --lr {lr} --bs {bs}" \\\n'
    "-p lr 0.01 0.1 1 -p bs 16 64 --seed 1 |\n"
    "simple_gpu_scheduler --gpus 0,1 --results runs",
    "sgs results runs --columns rank,lr,bs,val_loss",
]


def draw(folder: Path, env: Mapping[str, str]) -> None:
    """Run the sweep in the folder, and draw it."""
    _save_script(folder)
    shell = ["bash", "--norc", "--noprofile"]
    terminal = Terminal(shell, folder, {**env, **_LOOK}, lines=30)
    for command in _TYPED:
        terminal.until(_is_ready)
        terminal.type(f"{command}\n")
        last = command.splitlines()[-1]
        terminal.until(lambda lines, last=last: any(last in one for one in lines))
    terminal.until(_is_ready)
    terminal.draw("sweep", "a first sweep")
    terminal.close()


def _is_ready(lines: list[str]) -> bool:
    """Whether the shell waits for a command."""
    return next((one for one in reversed(lines) if one), "") == _PROMPT


def _save_script(folder: Path) -> None:
    found = re.search(r"^```python\n(# train\.py\n.*?)^```$", _PAGE.read_text(), re.M | re.S)
    if found is None:
        raise LookupError(f"no train.py in {_PAGE}")
    (folder / "train.py").write_text(found[1])
