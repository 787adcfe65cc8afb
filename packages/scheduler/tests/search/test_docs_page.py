"""Every example in docs/hypersearch.md is run, and prints what the page says."""

import os
import re
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[4] / "docs" / "hypersearch.md"


def examples():
    """Each command after `$ `, with its continued lines, and the output up to the next."""
    for block in re.findall(
        r"^```console\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE
    ):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command = re.match(r"(?:.*\\\n)*.*\n", step).group()
            yield pytest.param(command, step.removeprefix(command), id=command.split("\n")[0])


@pytest.mark.parametrize(("command", "output"), list(examples()))
def test_example(hypersearch, command, output):
    path = f"{os.path.dirname(hypersearch.path)}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=60,
    )
    assert done.stdout.decode() == output


def test_the_page_names_every_option(hypersearch):
    text = PAGE.read_text()
    for option in re.findall(
        r"(?<![\w-])--?[a-z0][a-z-]*", "\n".join(hypersearch.lines("--help"))
    ):
        if option in ("-d", "-w", "--lr", "--bs", "--out"):  # of the examples
            continue
        assert option in text
