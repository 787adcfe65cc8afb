"""`sgs simulate`, the installed command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SGS = str(Path(sys.executable).parent / "sgs")
JOBS = (
    "submit_s,runtime_s,gpus,memory_mib\n0,600,1,8000\n0,600,1,8000\n60,600,1,4000\n120,1200,2,\n"
)

#: Stands in for matplotlib: writes which curves were drawn.
STAND_IN = {
    "__init__.py": "def use(name):\n    assert name == 'Agg'\n",
    "pyplot.py": """\
class Axes:
    names = []
    def step(self, xs, ys, where, label):
        assert len(xs) == len(ys) and ys[-1] == 1
        self.names.append(label)
    def set(self, **_): pass
    def legend(self): pass
class Figure:
    def savefig(self, file, format):
        assert format == "png"
        file.write(",".join(Axes.names).encode())
def subplots(**_):
    return Figure(), Axes()
def close(figure): pass
""",
}


def sgs(*words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    if path is not None:
        env["PYTHONPATH"] = str(path)
    return subprocess.run(
        [SGS, "simulate", *words],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def jobs(tmp_path: Path) -> str:
    path = tmp_path / "jobs ü.csv"
    path.write_text(JOBS)
    return str(path)


def test_a_table_of_all_policies(jobs: str) -> None:
    done = sgs("--trace", jobs, "--gpus", "2", "--memory", "16G")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "4 jobs on 2 GPUs, load 17.50"
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:-2]}
    assert rows["fifo-exclusive"][0] == "40m00s"
    assert rows["best-fit"][:4] == ["31m00s", "2m15s", "9m00s", "9m00s"]
    assert len(rows) == 8
    assert lines[-1].endswith("the waiting of fifo-exclusive")


def test_json_has_the_numbers(jobs: str) -> None:
    words = ("--gpus", "2", "--memory", "16G", "--policies", "fifo,fifo-exclusive", "--json")
    found = json.loads(sgs("--trace", jobs, *words).stdout)
    assert (found["jobs"], found["gpus"], found["memory_mib"]) == (4, 2, 16384)
    fifo, exclusive = found["policies"]
    assert (fifo["policy"], exclusive["policy"]) == ("fifo", "fifo-exclusive")
    assert exclusive["makespan_s"] == 2400
    assert exclusive["late"] == 0, "it is what the others are held against"


def test_drawn_jobs_are_the_same_each_time() -> None:
    words = ("--synthetic", "300", "--mix", "large", "--seed", "7", "--runtimes-known")
    first = sgs(*words)
    assert first.returncode == 0
    assert first.stdout == sgs(*words).stdout
    assert "load 1.50" in first.stdout
    assert sgs(*words, "--load", "inf").stdout.startswith(
        "300 jobs on 8 GPUs, all submitted at once"
    )


def test_pieces_of_a_trace_and_what_is_left_out(jobs: str) -> None:
    done = sgs("--trace", jobs, "--gpus", "1", "--longest", "10m", "--slice", "1:", "--limit", "1")
    assert done.stdout.startswith("1 job on 1 GPU, ")
    assert "left out: 1 (asks for more GPUs or memory than the machine has)" in done.stdout


def test_why_no_job_of_a_trace_is_left(jobs: str, tmp_path: Path) -> None:
    words = ("--gpus", "1", "--memory", "6G", "--longest", "5m")
    none = "sgs: error: no job is left to simulate: the trace has 4; left out: "
    too_much = "3 (asks for more GPUs or memory than the machine has)"
    assert sgs("--trace", jobs, *words).stderr == (
        f"{none}{too_much}, 1 (runs longer than --longest)\n"
    )
    assert sgs("--trace", jobs, *words[:4], "--slice", "1:3").stderr == (
        f"{none}{too_much}, 1 (outside --slice 1:3)\n"
    )
    large = tmp_path / "large.csv"
    large.write_text("submit_s,runtime_s,gpus\n0,60,9\n")
    assert sgs("--trace", str(large), "--gpus", "2").stderr == (
        "sgs: error: no job is left to simulate: the trace has 1; left out: "
        "1 (asks for more GPUs or memory than the machine has)\n"
    )


def test_a_figure_is_drawn_by_matplotlib(tmp_path: Path, jobs: str) -> None:
    (tmp_path / "matplotlib").mkdir()
    for name, text in STAND_IN.items():
        (tmp_path / "matplotlib" / name).write_text(text)
    figure = tmp_path / "f.png"
    words = ("--trace", jobs, "--figure", str(figure), "--policies", "fifo,frag")
    assert sgs(*words, path=tmp_path).returncode == 0
    assert figure.read_text() == "fifo,frag"
    nowhere = sgs("--trace", jobs, "--figure", "/nowhere/f.png", path=tmp_path)
    assert nowhere.returncode == 1
    assert "--figure '/nowhere/f.png' can't be written" in nowhere.stderr


def test_a_figure_is_drawn_as_nobody_s_folder_says(tmp_path: Path, jobs: str) -> None:
    """Matplotlib reads `matplotlibrc` where it is loaded; that may be anybody's."""
    (tmp_path / "matplotlibrc").write_text("bad key\x1b[2J: 1\nfigure.figsize: nonsense\n")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "sgs"), "simulate", "--trace", jobs,
              "--figure", "f.png", "--policies", "fifo"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_without_matplotlib_is_a_clear_error(tmp_path: Path, jobs: str) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError")
    done = sgs("--trace", jobs, "--figure", "f.png", path=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "install it, or simple-gpu-scheduler with its extra `simulate`" in done.stderr


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), "one of the arguments --trace --synthetic is required"),
        (("--synthetic", "0"), "expected a whole number"),
        (("--synthetic", "5", "--gpus", "-1"), "expected a number of GPUs"),
        (("--synthetic", "5", "--memory", "80"), "size with its unit"),
        (("--synthetic", "5", "--memory", "80X"), "size with its unit"),
        (("--synthetic", "5", "--policies", "fifo,best"), "got best"),
        (("--synthetic", "5", "--policies", ","), "got none"),
        (("--synthetic", "5", "--slice", "9:"), "no job is left to simulate"),
        (("--synthetic", "5", "--slice", "3"), "expected A:B"),
        (("--synthetic", "5", "--load", "0"), "expected a number above 0"),
        (("--synthetic", "5", "--load", "nan"), "expected a number above 0"),
        (("--synthetic", "5", "--longest", "-1"), "--longest"),
        (("--synthetic", "5", "--longest", "1s"), "no job is left"),
        (("--synthetic", "5", "--trace", "x"), "not allowed with"),
        (("--trace", "/nowhere.csv"), "No such file"),
        (("--trace", "/"), "Is a directory"),
        (("--trace", sys.executable), "UTF-8"),
        (("--trace", __file__), "names no column submit_s or runtime_s"),
    ],
)
def test_a_users_mistake_is_named_without_a_traceback(words: tuple[str, ...], named: str) -> None:
    done = sgs(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_every_policy() -> None:
    done = sgs("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("fifo-exclusive", "backfill-frag", "openb"))
