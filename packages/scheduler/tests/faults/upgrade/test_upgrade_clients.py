"""Commands and programs of the old version that wait while the package is upgraded."""

from __future__ import annotations

import fcntl
import struct
import subprocess
import termios
from contextlib import suppress
from pathlib import Path

import pytest

from ...e2e.top.conftest import Terminal  # noqa: TID252
from .driver import with_driver
from .installation import BOUND_S, Place, wait_until

PROGRAM = """
import os, sys, time
from simple_gpu_scheduler.executor import GPUExecutor

def gpu(error):
    if error:
        raise ValueError(error)
    return os.environ["CUDA_VISIBLE_DEVICES"]

def wait(path):
    while not os.path.exists(path):
        time.sleep(0.05)
    return os.environ.get("CUDA_VISIBLE_DEVICES")

def meet(mine, other):
    open(mine, "w").close()
    return wait(other)

def use(pool):
    assert str(pool.submit(gpu, "no").exception(60)) == "no"
    calls = [pool.submit(meet, "a", "b"), pool.submit(meet, "b", "a")]
    return {call.result(60) for call in calls}

def use_over_the_upgrade():
    with GPUExecutor(2, tell=print) as pool:
        first = pool.submit(gpu, "").result(60)
        open("up", "w").close()
        wait("upgraded")
        gpus = use(pool)
        assert first in gpus and len(gpus) == 2, gpus

if sys.argv[1:] == ["begun"]:
    use_over_the_upgrade()
open("up", "w").close()
wait("upgraded")
with GPUExecutor(2, vram="10G", tell=print) as pool:
    use(pool)
print("well")
"""


def said_by(process: subprocess.Popen[str], status: int = 0, data: str = "") -> str:
    """What it prints, once it has ended as it should."""
    said, _ = process.communicate(data, timeout=BOUND_S)
    assert "Traceback" not in said, said
    assert process.returncode == status, said
    return said


def unread(process: subprocess.Popen[str]) -> int:
    """How many bytes wait for it in the pipe that is its input."""
    assert process.stdin is not None
    size = fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4))
    number: int = struct.unpack("i", size)[0]
    return number


@pytest.mark.parametrize(
    ("end", "told", "status"), [("exit 3", "exit 3", 3), ("kill -9 $$", "SIGKILL", 137)]
)
def test_an_old_wait_tells_how_a_job_ended(place: Place, end: str, told: str, status: int) -> None:
    place.sgs("server", "start", "--gpus", "0")
    gate = f"echo up > up; until [ -e go ]; do sleep 0.05; done; {end}"
    job = place.submit("--", gate)
    wait_until((place.folder / "up").exists, "the job is up")
    wait = place.start("sgs", "wait", str(job))
    wait_until(lambda: is_watching(wait.pid), "it waits for news")
    place.installed.upgrade()
    (place.folder / "go").touch()
    assert told in said_by(wait, status)


def is_watching(pid: int) -> bool:
    """Whether the kernel tells the process of changes of files."""
    return any("inotify" in target(link) for link in Path(f"/proc/{pid}/fd").glob("*"))


def target(link: Path) -> str:
    """Where a link leads; nowhere once its file is closed."""
    with suppress(FileNotFoundError):
        return str(link.readlink())
    return ""


def test_an_old_lease_gets_its_gpu_after_an_upgrade(place: Place, tmp_path: Path) -> None:
    with_driver(place, tmp_path)
    holder = place.start("sgs", "lease", "--on", "0", "--", "sh", "-c", "echo up > up; cat")
    wait_until((place.folder / "up").exists, "the GPU is leased")
    waiter = place.start("sgs", "lease", "--on", "0", "--", "sh", "-c", "echo mine")
    assert waiter.stdout is not None
    first = waiter.stdout.readline()
    assert "wait" in first, first
    place.installed.upgrade()
    said_by(holder)
    assert "mine\n" in said_by(waiter)


@pytest.mark.parametrize("options", [[], ["--freeze"]], ids=["plain", "frozen"])
def test_an_old_submission_accepts_the_lines_that_come_after_an_upgrade(
    place: Place, options: list[str]
) -> None:
    place.git_tree()
    place.sgs("server", "start", "--gpus", "0,1")
    submit = place.start("sgs", "submit", *options)
    assert submit.stdin is not None
    submit.stdin.write("sh code.sh\n")
    submit.stdin.flush()
    wait_until(lambda: unread(submit) == 0, "it has begun to read")
    place.installed.upgrade()
    said = said_by(submit, data="sh code.sh  # sgs: gpus=2 priority=3\n")
    jobs = [word for word in said.split() if word.isdigit()]
    assert len(jobs) == 2, said
    place.sgs("wait", *jobs)
    assert place.ran() == ["frozen", "frozen"]


@pytest.mark.parametrize("how", ["begun", "imported"])
def test_an_old_executor_starts_workers_after_an_upgrade(
    place: Place, tmp_path: Path, how: str
) -> None:
    with_driver(place, tmp_path)
    (place.folder / "program.py").write_text(PROGRAM)
    program = subprocess.Popen(
        [place.installed.python, "program.py", how], cwd=place.folder, env=place.env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    wait_until(lambda: (place.folder / "up").exists() or program.poll() is not None, "a worker")
    place.installed.upgrade()
    (place.folder / "upgraded").touch()
    assert said_by(program) == "well\n"


def test_an_old_top_goes_on_through_an_upgrade(place: Place, tmp_path: Path) -> None:
    with_driver(place, tmp_path)
    place.sgs("server", "start")
    env = {**place.env, "LANG": "C.UTF-8", "TERM": "xterm-256color"}
    terminal = Terminal(place.installed.command("sgs"), "top", env=env)
    try:
        terminal.until(lambda: "GPUs free" in terminal.lines[0], "the header")
        place.installed.upgrade()
        place.submit("--name", "newcomer", "--", "echo printed; exec sleep 1000")
        terminal.until_shown("1  running .*newcomer")
        terminal.until_shown("^printed$")
        place.sgs("cancel", "1")
        terminal.until_shown("1  cancelled .*newcomer")
        terminal.type("q")
        assert terminal.wait() == 0
        assert "Traceback" not in terminal.raw.decode(errors="replace")
    finally:
        terminal.close()
