"""Leases under fire: many allocators, kill -9 at random, full disks, unusable directories.

Who observes is the kernel: each job locks a file for each of its cards by itself (occupy.c) and
would find a card that somebody else occupies.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lease_machine import Machine, open_to_all
from simple_gpu_scheduler.leases.store import FileLeaseStore
from users import as_user
from waiting import BOUND_S, wait_until

CARDS = ",".join(map(str, range(8)))
NO_LOCKS = """
#include <errno.h>
int flock(int fd, int how) { (void)fd; (void)how; errno = ERROR; return RESULT; }
"""


def allocator(number: int, machine: Machine) -> list[str]:
    """One of several kinds of users."""
    work = machine.occupy(10 + 7 * number % 40)
    lines = f"for i in 1 2 3 4 5 6; do echo '{work}'; done"
    return {
        0: ["sh", "-c", f"{lines} | simple_gpu_scheduler --quiet --gpus {CARDS}"],
        1: ["sh", "-c", f"{lines} | simple_gpu_scheduler --quiet --gpus {CARDS} --gpus-per-job 3"],
        2: ["sgs", "lease", "--on", f"{number % 8}", "--", "sh", "-c", work],
        3: ["sgs", "lease", "--on", f"{number % 8},{(number + 3) % 8}", "--", "sh", "-c", work],
        4: ["sh", "-c", f"{lines} | simple_gpu_scheduler --quiet --gpus {number % 8}"],
    }[number % 5]


def descendants(root: int) -> list[int]:
    """All processes below one."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError):
                stat = Path(f"/proc/{entry}/stat").read_text(errors="replace")
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    found: list[int] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


@pytest.mark.parametrize("locked_by_others", [False, True], ids=["", "locked by others"])
@pytest.mark.parametrize(
    "uids",
    [
        [None],
        pytest.param(
            [None, 61001, 61002],
            marks=[
                pytest.mark.root,
                pytest.mark.skipif(os.geteuid() != 0, reason="several users need root"),
            ],
        ),
    ],
    ids=["one user", "three users"],
)
def test_no_card_is_double_used_whoever_is_killed(
    machine: Machine, uids: list[int | None], tmp_path: Path, locked_by_others: bool
) -> None:
    """50 allocators on 8 cards; every few milliseconds one process of theirs is killed.

    Also while somebody keeps the directory locked, so that all of them allocate at once.
    """
    rng = random.Random(7)
    open_to_all(tmp_path)
    FileLeaseStore(str(machine.leases))
    lock = os.open(machine.leases, os.O_RDONLY)
    if locked_by_others:
        fcntl.flock(lock, fcntl.LOCK_SH)
    programs = [
        subprocess.Popen(
            as_user(uids[number % len(uids)], allocator(number, machine)),
            env=machine.env,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for number in range(50)
    ]
    killed = 0
    until_s = time.monotonic() + 60
    while any(program.poll() is None for program in programs):
        assert time.monotonic() < until_s, "some wait for ever"
        victims = [pid for pid in descendants(os.getpid()) if pid > 1]
        if victims and killed < 150:
            with suppress(ProcessLookupError):
                os.kill(rng.choice(victims), signal.SIGKILL)
                killed += 1
        time.sleep(0.02)  # the pace of the killing, nothing is waited for
    wait_until(lambda: not locked(machine), "every lease ends with its processes")
    log = machine.log()
    assert [line for line in log if line != "ok"] == []
    assert len(log) > 20
    assert killed > 5
    os.close(lock)
    done = machine.run("sgs", "lease", "--on", CARDS, "--no-wait", "--", "true")
    assert (done.returncode, done.stderr) == (0, "")


def locked(machine: Machine) -> list[str]:
    """Lease and ticket files on which a lock is held, by /proc/locks and not by our code."""
    locks = Path("/proc/locks").read_text().splitlines()
    inodes = {line.split()[-3].rpartition(":")[2] for line in locks if "FLOCK" in line}
    entries = os.scandir(machine.leases)
    return [one.name for one in entries if one.is_file() and str(one.inode()) in inodes]


@pytest.fixture
def without_locks(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A library that takes flock(2) away, as some network file systems do."""
    error, result = request.param
    source, target = tmp_path / "no_locks.c", tmp_path / "no_locks.so"
    source.write_text(NO_LOCKS)
    options = ["-shared", "-fPIC", f"-DERROR={error}", f"-DRESULT={result}"]
    subprocess.run(["cc", *options, "-o", target, source], check=True)
    return target


@pytest.mark.parametrize(
    "without_locks",
    [("ENOLCK", -1), ("EOPNOTSUPP", -1), ("0", 0)],
    ids=["no locks", "not supported", "granted to everybody"],
    indirect=True,
)
def test_a_file_system_without_locks_is_an_error(machine: Machine, without_locks: Path) -> None:
    env = {**machine.env, "LD_PRELOAD": str(without_locks)}
    lease = machine.run("sgs", "lease", "--on", "0", "--", "touch", "ran", env=env)
    run = machine.run("simple_gpu_scheduler", "--gpus", "0", lines="touch ran\n", env=env)
    for done in (lease, run):
        assert done.returncode == 1
        assert "no working locks (flock); set SGS_LEASE_DIR to a local directory" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (machine.path / "ran").exists()


def test_a_full_disk_is_an_error(machine: Machine) -> None:
    """Files may have no byte; what ran before is whole."""
    for command in (
        "sgs lease --on 0 -- touch ran",
        "echo 'touch ran' | simple_gpu_scheduler --gpus 0",
    ):
        limited = f"ulimit -f 0; {command}"
        done = subprocess.run(
            ["bash", "-c", limited],
            env=machine.env,
            cwd=machine.path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert f"{machine.leases} can't be written (File too large)" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (machine.path / "ran").exists()
    assert machine.files() == machine.files(".new") == []


def unusable_directories(machine: Machine) -> Iterator[tuple[Path, str]]:
    """Directories in which no lease may be, and what is said of them."""
    file = machine.path / "file"
    file.touch()
    yield file, "is not a directory"
    yield file / "below", "can't be created (Not a directory)"
    yield machine.path / "no" / "where", "can't be created (No such file or directory)"
    link = machine.path / "link"
    link.symlink_to(machine.cards)
    yield link, "is a symbolic link"
    loose = machine.path / "loose"
    loose.mkdir()
    loose.chmod(0o777)
    yield loose, "lacks the sticky bit"
    yield Path("/proc/nowhere"), "can't be created"


def test_an_unusable_directory_is_an_error(machine: Machine) -> None:
    for folder, said in unusable_directories(machine):
        env = {**machine.env, "SGS_LEASE_DIR": str(folder)}
        lease = machine.run("sgs", "lease", "--on", "0", "--", "touch", "ran", env=env)
        run = machine.run("simple_gpu_scheduler", "--gpus", "0", lines="touch ran\n", env=env)
        for done in (lease, run):
            assert done.returncode == 1
            assert said in done.stderr
            assert str(folder) in done.stderr
            assert "Traceback" not in done.stderr
    assert not (machine.path / "ran").exists()


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_what_is_held_is_marked_not_to_be_cleaned_up(machine: Machine, umask: int) -> None:
    """systemd-tmpfiles removes old files of /tmp, also locked ones, but none with this bit."""
    programs = [machine.start("sgs", "lease", "--on", "0", "--", "cat", umask=umask) for _ in "12"]
    wait_until(lambda: machine.files() and machine.files(".ticket"), "one holds, one waits")
    modes = {(machine.leases / name).stat().st_mode for name in os.listdir(machine.leases)}
    assert modes == {stat.S_IFREG | stat.S_ISVTX | 0o644}
    for program in programs:
        program.kill()
        program.communicate()


def test_who_has_nothing_in_a_directory_that_is_removed_makes_another(machine: Machine) -> None:
    """It may be older than those who clean up allow, and empty."""
    run = machine.start("simple_gpu_scheduler", "--gpus", "0", "--quiet")
    assert run.stdin is not None
    assert run.stdout is not None
    for number in "123":
        run.stdin.write(f"echo {number}\n")
        run.stdin.flush()
        assert run.stdout.readline() == f"{number}\n"
        wait_until(lambda: not machine.files(), "the job's lease is over")
        machine.leases.rmdir()
    assert run.communicate(timeout=BOUND_S) == ("", "")
    assert run.returncode == 0


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="a mount needs root")
def test_a_read_only_file_system_is_called_so(machine: Machine) -> None:
    machine.leases.mkdir()
    script = (
        f"mount -t tmpfs -o ro,mode=1777 none {machine.leases} && sgs lease --on 0 -- touch ran"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        env=machine.env,
        cwd=machine.path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"{machine.leases} is on a read-only file system" in done.stderr
    assert not (machine.path / "ran").exists()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="another user's directory needs root")
@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_a_directory_of_somebody_else_is_an_error(
    machine: Machine, mode: int, tmp_path: Path
) -> None:
    open_to_all(tmp_path)
    machine.leases.mkdir()
    machine.leases.chmod(mode)
    done = machine.run("sgs", "lease", "--on", "0", "--", "true", user=61001)
    assert done.returncode == 1
    assert "belongs to root and can't be written by 61001" in done.stderr or mode == 0o700
    assert "no GPU can be leased" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="several users need root")
def test_users_share_one_directory_and_cannot_remove_each_other_s_leases(
    machine: Machine, tmp_path: Path
) -> None:
    open_to_all(tmp_path)
    first = machine.start(
        *["sgs", "lease", "--on", "0", "--", "sh", "-c", "echo up; read x"], user=61001
    )
    assert first.stdout is not None
    assert first.stdout.readline() == "up\n"
    second = machine.run("sgs", "lease", "--on", "0", "--no-wait", "--", "true", user=61002)
    assert second.returncode == 75
    assert "GPU 0 is leased by 61001 (shell, " in second.stderr
    (name,) = machine.files()
    remove = subprocess.run(
        ["rm", "-f", machine.leases / name], user=61002, capture_output=True, check=False
    )
    assert remove.returncode != 0
    third = machine.run("sgs", "lease", "--on", "1", "--no-wait", "--", "true", user=61002)
    assert third.returncode == 0
    first.kill()
    first.wait()
    fourth = machine.run("sgs", "lease", "--on", "0", "--no-wait", "--", "true", user=61002)
    assert fourth.returncode == 0, "a dead file of another user is no lease"


def test_a_background_grandchild_of_a_killed_scheduler_keeps_the_gpu(machine: Machine) -> None:
    """The kernel ends the lease with the last process, not with the job's shell."""
    run = machine.start("simple_gpu_scheduler", "--gpus", "0")
    assert run.stdin is not None
    script = f"({machine.occupy(2000)}) & echo $! > new; mv new pid; wait"
    run.stdin.write(f"{script}\n")
    run.stdin.flush()
    wait_until((machine.path / "pid").exists, "the job runs")
    grandchild = int((machine.path / "pid").read_text())
    shell = int(Path(f"/proc/{grandchild}/stat").read_text().rpartition(")")[2].split()[1])
    run.kill()
    run.wait()
    os.kill(shell, signal.SIGKILL)
    busy = machine.run("sgs", "lease", "--on", "0", "--no-wait", "--", "true")
    assert busy.returncode == 75
    done = machine.run("sgs", "lease", "--on", "0", "--", "sh", "-c", machine.occupy(1))
    assert done.returncode == 0
    assert machine.log() == ["ok", "ok"]
