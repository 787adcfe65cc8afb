"""Every method has a page, made of its docstring without a complaint."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .test_experiments import ALL, README

DOCS = Path(__file__).resolve().parents[1] / "docs"
SITE = Path(__file__).resolve().parents[3] / "docs"  # the one site of all packages


def test_every_method_has_its_page(tmp_path: Path) -> None:
    source = tmp_path / "docs"
    shutil.copytree(DOCS, source, ignore=shutil.ignore_patterns("pages"))
    only = ["-D", "root_doc=index", "-D", "include_patterns=index.rst,pages/*.rst"]
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-c", SITE, *only]
    done = subprocess.run(
        [*command, source, tmp_path / "html"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for one in ALL:
        module = one.method.partition("`")[2].rstrip("`)")
        page = tmp_path / "html" / "pages" / f"{module}.html"
        assert "Example" in page.read_text("utf-8"), module


def test_the_readmes_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = README.read_text("utf-8").split("```python\n")[1].split("```")[0]
    torch.set_default_dtype(torch.float32)
    exec(compile(code, str(README), "exec"), {})
    printed = capsys.readouterr().out
    assert printed.startswith("tensor([")
    assert "@inproceedings{luo2020sumo," in printed
