"""`sgs` without a command, its help, and its aliases."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

import simple_gpu_scheduler
from simple_gpu_scheduler.cli import sgs as sgs_module


def test_sgs_alone_says_where_there_is_help(sgs):
    done = sgs()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "sgs --help shows what else there is."


def test_help_has_examples(sgs):
    for option in ("--help", "-h", "help"):
        done = sgs(option)
        assert done.returncode == 0
        assert done.stdout.startswith("usage: sgs COMMAND")
        assert "sgs results runs/lr\n" in done.stdout
    done = sgs("results", "--help")
    assert done.returncode == 0
    assert "examples:" in done.stdout


def test_version(sgs):
    assert sgs("--version").stdout == f"sgs {simple_gpu_scheduler.__version__}\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("result", "unknown command 'result'; did you mean results? (commands: run, search, "),
        ("xyz", "unknown command 'xyz' (commands: run, search, "),
        ("--verbos", "unknown option '--verbos'"),
        ("\x1b[31m", "unknown command '\\x1b[31m'"),
    ],
)
def test_an_unknown_command(sgs, name, message):
    done = sgs(name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"sgs: error: {message}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("alias", "module"), [("run", "run.command"), ("search", "search")])
def test_aliases_pass_the_arguments_and_the_status_on(monkeypatch, alias, module):
    seen = []
    fake = SimpleNamespace(main=lambda argv: seen.append(argv) or 7)
    monkeypatch.setitem(sys.modules, f"simple_gpu_scheduler.cli.{module}", fake)
    assert sgs_module.main([alias, "--x", "1"]) == 7
    assert seen == [["--x", "1"]]


def test_nothing_is_imported_that_is_not_used(sgs):
    code = (
        "import sys; from simple_gpu_scheduler.cli.sgs import main; main(['--version']); "
        "print([m for m in ('argparse', 'json', 'pynvml', 'difflib', 'subprocess', "
        "'simple_gpu_scheduler.cli.run.command') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("\n[]\n")
