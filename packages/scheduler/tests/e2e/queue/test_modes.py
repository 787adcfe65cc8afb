"""What is kept for jobs is for their user alone, whatever his umask."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from submitting import User
from waiting import wait_until

#: Below these, modes are the job's, or git's; nobody else gets there.
CLOSED = ("snapshots.git", "frozen")


@pytest.fixture(params=[0o000, 0o002, 0o077], ids=["000", "002", "077"])
def user(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[User]:
    """One with a work tree, and a umask."""
    one = User(tmp_path)
    before = os.umask(request.param)
    try:
        assert one.say("server", "start", "--gpus", "0,1").status == 0
        yield one
        one.leave()
    finally:
        os.umask(before)


def test_all_that_a_job_leaves_is_for_its_user_alone(user: User) -> None:
    subprocess.run(["git", "init", "-q"], cwd=user.folder, check=True)
    (user.folder / "run.sh").write_text("#SGS --freeze --notify echo\necho 1\n")
    job = user.submit("--retries", "2", "run.sh", cwd=user.folder)
    other = user.submit("--", "exit 3")
    user.say("wait", str(job), str(other))
    user.say("logs", "-f", str(job))
    (folder,) = user.state.glob("queue/*")
    wait_until((folder / "notify.log").exists, "the submitter is told")
    user.say("clean", "--finished", str(other))
    met = {path.name for path in walked(folder)}
    assert met >= {
        "queue.sqlite3", "queue.sqlite3-wal", "logs", "1.1.log", "scripts", "snapshots.git",
        "frozen", "frozen.lock", "notify.log", "server.log", "server.lock", "launcher.log",
    }  # fmt: skip
    assert [path for path in walked(folder) if is_open(path)] == []


def walked(folder: Path) -> Iterator[Path]:
    yield folder
    for path in folder.iterdir():
        if path.is_dir() and path.name not in CLOSED:
            yield from walked(path)
        else:
            yield path


def is_open(path: Path) -> bool:
    """Whether others could read or write it, were they allowed to go there."""
    return bool(stat.S_IMODE(path.lstat().st_mode) & 0o077)
