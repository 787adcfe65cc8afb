"""Where the queue can't be written nothing is accepted, and it is said why."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from submitting import SGS, User

root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root")


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    one = User(tmp_path)
    yield one
    one.leave()


@pytest.fixture
def small_disk(user: User) -> Iterator[Path]:
    """A file system of 2 MB, where the state is."""
    user.state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(user.state)], check=True)
    try:
        yield user.state
        (user.state / "filler").unlink(missing_ok=True)
        user.leave()
    finally:
        subprocess.run(["umount", "-l", str(user.state)], check=True)


def fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass


def database(user: User) -> Path:
    (path,) = user.state.glob("queue/*/queue.sqlite3")
    return path


def refused(user: User, *words: str, data: bytes = b"") -> str:
    """What is said; the status is 1: the user did nothing wrong."""
    said = user.say("submit", *words, data=data)
    assert (said.status, said.out) == (1, b""), said
    return said.err.decode()


@pytest.mark.root
@root
def test_a_full_disk_is_said_and_nothing_accepted(user: User, small_disk: Path) -> None:
    user.submit("--hold", "true")
    (user.folder / "s").write_bytes(b"#SGS gpus=2\n" + b"#" * 20_000)
    fill(small_disk)
    lines = b"".join(b"echo %d\n" % number for number in range(20_000))
    assert "the disk is full" in refused(user, data=lines)
    said = refused(user, "--hold", "s")  # by the queue's file, or already by the script's own
    assert "the disk is full" in said or "No space left on device" in said
    (small_disk / "filler").unlink()
    assert [entry.id for entry in user.entries()] == [1]
    assert not list(small_disk.glob("queue/*/scripts/*"))
    assert user.submit("--hold", "s") == 2


@pytest.mark.root
@root
def test_a_full_disk_takes_no_half_of_a_work_tree(user: User, small_disk: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=user.folder, check=True)
    (user.folder / "large").write_bytes(os.urandom(4 << 20))
    assert "git: " in refused(user, "--freeze", "--hold", "true")
    assert user.entries() == []
    (user.folder / "large").write_bytes(b"small")
    assert user.submit("--freeze", "--hold", "true") == 1


@pytest.mark.root
@root
def test_a_state_directory_that_is_read_only_is_said(user: User, small_disk: Path) -> None:
    user.say("status")  # it needs no server
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    try:
        assert "can't be" in refused(user, "--hold", "true")
        (user.folder / "s").write_text("#SGS gpus=1\ntrue\n")
        assert "can't be" in refused(user, "--hold", "s")
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert user.entries() == []


def test_a_state_directory_that_cannot_be_created_is_said(user: User) -> None:
    user.env["SGS_STATE_DIR"] = "/proc/nowhere"
    assert "name another directory by SGS_STATE_DIR" in refused(user, "true")
    (user.folder / "file").touch()
    user.env["SGS_STATE_DIR"] = str(user.folder / "file")
    assert "name another directory by SGS_STATE_DIR" in refused(user, "true")


def test_a_damaged_file_is_said_and_left_as_it_is(user: User) -> None:
    user.submit("--hold", "true")
    user.say("server", "stop")
    path = database(user)
    kept = path.read_bytes()
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    path.write_bytes(b"no database at all, but a text that is long enough" * 100)
    assert "is damaged" in refused(user, "true")
    assert path.read_bytes().startswith(b"no database")
    path.write_bytes(kept)


def test_a_file_of_a_later_version_is_said(user: User) -> None:
    user.submit("--hold", "true")
    user.say("server", "stop")
    with sqlite3.connect(database(user)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    assert "is of a later version of sgs" in refused(user, "true")
    with sqlite3.connect(database(user)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


def test_an_environment_that_no_job_could_be_given_is_told_of(user: User) -> None:
    """A shell with a larger stack may have more of it than the server can hand to a job."""
    assert user.say("server", "start", "--gpus", "0").status == 0
    large = {f"LARGE{number}": "x" * 100_000 for number in range(40)}

    def more() -> None:
        resource.setrlimit(resource.RLIMIT_STACK, (64 << 20, resource.RLIM_INFINITY))

    done = subprocess.run(
        [SGS, "submit", "--", "echo started"],
        env={**user.env, **large}, preexec_fn=more, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = user.say("wait", "1")
    assert said.status == 1
    assert b"Argument list too long" in said.err


def test_who_cannot_read_our_numbers_has_them_accepted_all_the_same(user: User) -> None:
    lines = b"".join(b"echo %d\n" % number for number in range(20_000))
    with subprocess.Popen(
        [SGS, "submit", "--hold"], cwd=user.folder, env=user.env,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.close()
        assert process.stdin is not None
        process.stdin.write(lines)
        process.stdin.close()
        assert process.wait() == 141
    assert len(user.entries()) == 20_000
    shutil.rmtree(user.state)


def test_a_list_that_comes_from_nowhere_ends_at_once(user: User) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", '"$0" submit <&-', SGS], env=user.env, capture_output=True, check=False
    )
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""
