"""Every command in the documentation is run, and prints what the page says.

In a ```console block a line after `$ ` is a command, what follows is its output (both streams,
as a terminal shows them). A ```sh block must parse. A ```python block that begins with the
comment `# NAME.py` is saved under that name. Blocks of one page share a folder, so that a page can
be read, and typed, from top to bottom.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
FAKE_GPUS = ROOT / "packages/scheduler/fake_nvml"
PAGES = [
    ROOT / "README.md",
    ROOT / "packages/scheduler/README.md",
    FAKE_GPUS / "README.md",
    *sorted(ROOT.glob("docs/*.md")),
]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Step(NamedTuple):
    command: str
    output: str


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in _BLOCK.findall(page.read_text()) if kind == language]


def steps(block: str) -> list[Step]:
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)
    assert parts[0] == "", f"a console block begins with a command, not with {parts[0]!r}"
    found: list[Step] = []
    for part in parts[1:]:
        lines = part.splitlines(keepends=True)
        end = next(n for n, line in enumerate(lines) if not line.endswith("\\\n")) + 1
        found.append(Step("".join(lines[:end]), "".join(lines[end:])))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_commands_of_a_page_print_what_it_says(page: Path, tmp_path: Path) -> None:
    if page.parent == FAKE_GPUS:  # which is read, and typed, in its own folder
        hidden = shutil.ignore_patterns("build")
        shutil.copytree(FAKE_GPUS, tmp_path, ignore=hidden, dirs_exist_ok=True)
    path = f"{Path(sys.executable).parent}:{FAKE_GPUS}:{os.environ['PATH']}"
    environ = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environ |= {"PATH": path, "LC_ALL": "C.UTF-8"}
    save_scripts(page, tmp_path)
    try:
        for step in (step for block in blocks(page, "console") for step in steps(block)):
            assert run(step.command, tmp_path, environ) == step.output, step.command
    finally:
        run("sgs server stop", tmp_path, environ)


def save_scripts(page: Path, folder: Path) -> None:
    for text in blocks(page, "python"):
        name = re.match(r"# ([\w-]+\.py)\n", text)
        if name:
            (folder / name[1]).write_text(text)


def run(command: str, folder: Path, environ: dict[str, str]) -> str:
    """What it prints, stdout and stderr as they come."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_shell_snippets_parse(page: Path) -> None:
    for text in blocks(page, "sh"):
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_an_extra_is_installed_from_this_repository(page: Path) -> None:
    """The project is on no index; and an extra that isn't there is only warned of by pip."""
    text = page.read_text()
    extras = re.findall(r"pip install '\./packages/scheduler\[(\w+)\]'", text)
    assert len(extras) == text.count("pip install '"), "all are of this form"
    project = (ROOT / "packages/scheduler/pyproject.toml").read_text()
    assert [name for name in extras if not re.search(rf"^{name} = \[", project, re.M)] == []
