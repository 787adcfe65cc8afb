"""What others may do to a directory that all can write, and what programs do to themselves."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lease_machine import Machine, hold, let_go, open_to_all, waits_for
from simple_gpu_scheduler.files.folders import open_folder
from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.leases.lease_files import LeaseFiles
from simple_gpu_scheduler.leases.records import LeaseRequest
from simple_gpu_scheduler.leases.store import FileLeaseStore, live_leases
from users import needs_root
from waiting import wait_until

AGAIN = ["sgs", "lease", "--on", "0", "--no-wait", "--", "true"]


def python(machine: Machine, program: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run a Python program that uses the client."""
    done = machine.start("python", "-c", program, **settings)
    out, err = done.communicate(timeout=60)
    return subprocess.CompletedProcess(program, done.returncode, out, err)


@pytest.fixture
def plant(machine: Machine) -> Iterator[Callable[[str, str], None]]:
    """Puts a file that is held into the lease directory."""
    FileLeaseStore(str(machine.leases))
    held = []

    def planted(name: str, content: str) -> None:
        (machine.leases / name).write_text(content)
        held.append(os.open(machine.leases / name, os.O_RDONLY))
        fcntl.flock(held[-1], fcntl.LOCK_EX)

    yield planted
    for fd in held:
        os.close(fd)


def forged(**fields: object) -> str:
    """A lease's file that says this."""
    lease = {
        "version": 1, "id": "x", "uid": 0, "user": "root", "pid": 1, "kind": "job",
        "since_s": 1.0, "gpus": ["0"], "units": GPU_UNITS, "memory_mib": None, "parent": None,
    }  # fmt: skip
    return json.dumps({**lease, **fields}) + "\n"


@pytest.mark.parametrize(
    "content",
    ["", "garbage", "[]", forged(units=-GPU_UNITS), forged(units=0), forged(gpus=[]),
     forged(pid="1"), forged(since_s=1e300), forged(memory_mib=-1), "[" * 100_000],
)  # fmt: skip
def test_a_file_that_is_no_lease_neither_frees_a_card_nor_stops_anybody(
    machine: Machine, plant: Callable[[str, str], None], content: str
) -> None:
    plant("x.lease", content)
    plant("x.ticket", content)
    shell = hold(machine, "--on", "0")
    assert machine.run(*AGAIN).returncode == 75
    run = machine.run("simple_gpu_scheduler", "--gpus", "1", "--quiet", lines="echo ran\n")
    assert (run.returncode, run.stdout, run.stderr) == (0, "ran\n", "")
    let_go(shell)
    assert machine.run(*AGAIN).returncode == 0


@pytest.mark.parametrize("name", ["x.lease", "x.ticket", "x.new"])
@pytest.mark.parametrize("kind", ["fifo", "directory", "link to nothing", "link to a lease"])
@pytest.mark.parametrize("held", [True, False])
def test_what_is_no_plain_file_is_passed_over(
    machine: Machine, name: str, kind: str, held: bool
) -> None:
    shell = hold(machine, "--on", "0")
    (lease,) = machine.files()
    path = machine.leases / name
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(machine.leases / lease if kind == "link to a lease" else "/nowhere")
    fd = os.open(path if path.exists() else "/", os.O_RDONLY | os.O_NONBLOCK)
    if held and "link" not in kind:
        fcntl.flock(fd, fcntl.LOCK_EX)
    assert machine.run(*AGAIN).returncode == 75
    run = machine.run("simple_gpu_scheduler", "--gpus", "1", lines="echo ran\n")
    assert (run.returncode, run.stderr) == (0, "")
    os.close(fd)
    let_go(shell)


def test_whose_a_lease_is_the_file_system_says(
    machine: Machine, plant: Callable[[str, str], None]
) -> None:
    old_s = 200 * 86400.0
    fields = {"uid": 61001, "user": "somebody\x1b[2J", "kind": "job\x1b[2J", "id": "y"}
    plant("x.lease", forged(since_s=old_s, **fields))
    (lease,) = live_leases(str(machine.leases))
    name = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    assert (lease.id, lease.uid, lease.user, lease.kind) == ("x", os.geteuid(), name, "unknown")
    busy = machine.run(*AGAIN)
    since = time.strftime("%d %b %Y %H:%M", time.localtime(old_s))
    assert f"leased by {name} (unknown, pid 1) since {since}" in busy.stderr


@pytest.mark.parametrize("uid", [pytest.param(61002, marks=needs_root)])
def test_the_name_of_somebody_s_lease_is_no_key_to_it(
    machine: Machine, tmp_path: Path, uid: int
) -> None:
    open_to_all(tmp_path)
    shell = machine.start(
        *["sgs", "lease", "--on", "0", "--", "sh", "-c", "echo $SGS_LEASE; read x"], user=61001
    )
    assert shell.stdout is not None
    stolen = {**machine.env, "SGS_LEASE": shell.stdout.readline().strip()}
    assert machine.run(*AGAIN, user=uid, env=stolen).returncode == 75
    assert machine.run(*AGAIN, user=61001, env=stolen).returncode == 0, "its own user"
    assert machine.run(*AGAIN, env=stolen).returncode == 0, "root"
    let_go(shell)


def test_what_was_killed_while_it_was_added_is_swept(machine: Machine) -> None:
    book = FileLeaseStore(str(machine.leases))
    for name in ("1-2-3.new", "nginx.conf.new", "1-2-4.new"):
        (machine.leases / name).touch()
        os.utime(machine.leases / name, (0, 0))
    os.utime(machine.leases / "1-2-4.new")
    with book.allocating():
        pass
    assert sorted(machine.files(".new")) == ["1-2-4.new", "nginx.conf.new"], "new; none of ours"


def test_a_directory_that_goes_away_is_an_error(machine: Machine) -> None:
    shell = hold(machine, "--on", "0")
    lines = "rm -r leases\ntrue\n"
    done = machine.run("simple_gpu_scheduler", "--gpus", "1", lines=lines)
    assert done.returncode == 1
    assert "no GPU can be leased" in done.stderr
    assert str(machine.leases) in done.stderr
    assert "Traceback" not in done.stderr
    let_go(shell)


def test_a_lease_that_can_not_be_read_for_want_of_descriptors_is_no_free_card(
    machine: Machine,
) -> None:
    shells = [hold(machine, "--on", card) for card in "01"]
    program = f"""if True:
        import os
        from simple_gpu_scheduler.files.folders import open_folder
        from simple_gpu_scheduler.leases.lease_files import LeaseFiles
        from simple_gpu_scheduler.errors import PassingError
        files = LeaseFiles({str(machine.leases)!r}, open_folder)
        names = files.names()
        print(len(files.live(names, ".lease")))
        try:
            while True:
                last = os.open("/dev/null", os.O_RDONLY)
        except OSError:
            pass
        try:
            print(files.live(names, ".lease"))
        except PassingError as error:
            os.close(last)
            print(error)
    """
    done = python(machine, program)
    assert "can't be read (Too many open files)" in done.stdout.splitlines()[1], done.stderr
    for shell in shells:
        let_go(shell)


def test_many_descriptors_are_no_hindrance_to_waiting(machine: Machine) -> None:
    shell = hold(machine, "--on", "0")
    program = """if True:
        import os, resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (3000, 3000))
        from simple_gpu_scheduler.client import GpusBusyError, take
        fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(2000)]
        try:
            take(on="0", timeout_s=0.05)
        except GpusBusyError:
            print("busy")
    """
    done = python(machine, program)
    assert (done.returncode, done.stdout) == (0, "busy\n"), done.stderr
    let_go(shell)


def test_a_forked_child_does_not_give_back_what_its_parent_has(machine: Machine) -> None:
    program = """if True:
        import os, sys
        from simple_gpu_scheduler.client import lease, take
        taken = take(on="1")
        with lease(on="0"):
            pid = os.fork()
            if pid:
                os.waitpid(pid, 0)
                print("left", flush=True)
                sys.stdin.readline()
        if not pid:
            taken.release()
            os._exit(0)
        taken.release()
        taken.release()
        print("released", flush=True)
        sys.stdin.readline()
    """
    parent = machine.start("python", "-c", program)
    assert parent.stdout is not None
    assert parent.stdin is not None
    assert parent.stdout.readline() == "left\n"
    for card in ("0", "1"):
        again = machine.run("sgs", "lease", "--on", card, "--no-wait", "--", "true")
        assert again.returncode == 75, card
    parent.stdin.write("\n")
    parent.stdin.flush()
    assert parent.stdout.readline() == "released\n"
    assert machine.run("sgs", "lease", "--on", "0,1", "--no-wait", "--", "true").returncode == 0
    parent.stdin.close()
    assert parent.wait(60) == 0


def test_an_interrupted_wait_leaves_nothing(machine: Machine) -> None:
    """A notebook cell is interrupted, and the notebook lives on."""
    shell = hold(machine, "--on", "0")
    program = """if True:
        import sys
        from simple_gpu_scheduler.client import take
        try:
            take(on="0", tell=lambda text: print(text, flush=True))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        sys.stdin.readline()
    """
    notebook = machine.start("python", "-c", program)
    assert notebook.stdout is not None
    assert "waiting" in notebook.stdout.readline()
    notebook.send_signal(signal.SIGINT)
    assert notebook.stdout.readline() == "interrupted\n"
    assert machine.files(".ticket") == []
    let_go(shell)
    assert machine.run(*AGAIN).returncode == 0
    assert notebook.communicate("\n")[1] == ""


def test_two_threads_are_told_that_the_environment_is_one(machine: Machine) -> None:
    program = """if True:
        import os, threading
        from simple_gpu_scheduler.client import UsageError, lease
        def other():
            try:
                with lease(on="1"):
                    print("both")
            except UsageError as error:
                print(error)
        with lease(on="0,1"):
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
            with lease(on="1") as inner:
                print(inner, os.environ["CUDA_VISIBLE_DEVICES"])
            print(os.environ["CUDA_VISIBLE_DEVICES"])
        with lease(on="2"):
            print(os.environ["CUDA_VISIBLE_DEVICES"])
        print("CUDA_VISIBLE_DEVICES" in os.environ, "SGS_LEASE" in os.environ)
    """
    done = python(machine, program)
    first, *rest = done.stdout.splitlines()
    assert first.startswith("another thread or task of this program is in a lease() block")
    assert rest == ["('1',) 1", "0,1", "2", "False False"]


def test_two_tasks_are_told_so_too(machine: Machine) -> None:
    program = """if True:
        import asyncio
        from simple_gpu_scheduler.client import UsageError, lease
        async def task(name):
            try:
                with lease(on="0"):
                    await asyncio.sleep(0)
                    print(name)
            except UsageError:
                print("error")
        async def main():
            await asyncio.gather(task("first"), task("second"))
        asyncio.run(main())
    """
    done = python(machine, program)
    assert sorted(done.stdout.split()) == ["error", "first"], done.stderr


def test_a_waiter_that_was_stopped_is_in_nobody_s_way(machine: Machine) -> None:
    shell = hold(machine, "--on", "0")
    first = machine.start("sgs", "lease", "--on", "0", "--", "echo", "late")
    waits_for(first, "GPU 0")
    second = machine.start("sgs", "lease", "--on", "0", "--", "sh", "-c", "echo mine; read x")
    waits_for(second, "has waited for longer")
    first.send_signal(signal.SIGSTOP)
    let_go(shell)
    assert second.stdout is not None
    assert second.stdout.readline() == "mine\n"
    first.send_signal(signal.SIGCONT)
    let_go(second)
    assert first.communicate(timeout=60)[0] == "late\n"


def test_a_whole_card_is_had_from_a_scheduler_that_shares_its_cards(machine: Machine) -> None:
    first = machine.start(
        "simple_gpu_scheduler", "--gpus", "0,1", "--jobs-per-gpu", "3", "--quiet"
    )
    assert first.stdin is not None
    first.stdin.write("sleep 0.05\nsleep 0.08\nsleep 0.11\n" * 1000)
    first.stdin.flush()
    wait_until(lambda: len(machine.files()) == 6, "the first is at work")
    done = machine.run("sgs", "lease", "--on", "0", "--", "echo", "whole")
    assert (done.returncode, done.stdout) == (0, "whole\n")
    first.send_signal(signal.SIGTERM)
    first.wait(60)


def test_a_leased_command_has_fresh_signals(machine: Machine) -> None:
    done = machine.run("sgs", "lease", "--on", "0", "--", "grep", "SigIgn", "/proc/self/status")
    assert int(done.stdout.split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0
    assert int(done.stdout.split()[1], 16) & (1 << (signal.SIGXFSZ - 1)) == 0


def test_an_allocation_is_not_interrupted_in_the_middle(tmp_path: Path) -> None:
    book = FileLeaseStore(str(tmp_path / "leases"))
    held = []

    def allocate() -> None:
        with book.allocating():
            signal.raise_signal(signal.SIGINT)  # to this thread, whatever others there are
            held.append(book.add_lease(LeaseRequest(("0",), 1), "python"))

    with pytest.raises(KeyboardInterrupt):
        allocate()
    assert len(held) == 1
    book.release(held[0])


def test_who_has_the_directory_locked_is_told_and_then_it_is_done_without(tmp_path: Path) -> None:
    book = FileLeaseStore(str(tmp_path / "leases"), patience_s=0.05)
    fd = os.open(book.path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    begun_s = time.monotonic()
    with book.allocating():
        assert time.monotonic() - begun_s >= 0.05
        held = book.add_lease(LeaseRequest(("0",), 1), "python")
        assert book.confirm()
    (remark,) = book.remarks()
    assert f"(pid {os.getpid()}) has {book.path} locked for 0.05 s now" in remark
    begun_s = time.monotonic()
    with book.allocating():
        assert not book.confirm() or book.leases()
    assert book.remarks() == [], "it is told once"
    assert time.monotonic() - begun_s < 0.05, "our patience comes back in a minute"
    os.close(fd)
    with book.allocating():
        pass
    book.release(held)


def test_what_a_job_left_behind_is_no_part_of_the_next_one_s_lease(machine: Machine) -> None:
    """The first job leaves a scheduler within its lease, in a session of its own."""
    inner = f"sleep 0.3; echo '{machine.occupy(300)}' | simple_gpu_scheduler --quiet --gpus 0"
    lines = f'setsid sh -c "{inner}; touch inner" > /dev/null 2>&1 &\n{machine.occupy(1500)}\n'
    done = machine.run("simple_gpu_scheduler", "--gpus", "0", lines=lines)
    assert done.returncode == 0
    wait_until((machine.path / "inner").exists, "what was left behind has had its turn")
    assert machine.log() == ["ok", "ok"]


def test_a_lease_is_never_larger_than_what_others_read(machine: Machine) -> None:
    """Else they would take it for garbage, and its card for free."""
    names = ",".join(f"GPU-{number:03d}-" + "x" * 190 for number in range(400))
    done = machine.run("sgs", "lease", "--on", names, "--", "true")
    assert done.returncode == 1
    assert "the names of these GPUs take 8" in done.stderr
    assert machine.files() == machine.files(".ticket") == []


def test_opening_the_directory_leaves_the_umask_alone(tmp_path: Path) -> None:
    """It is the whole process's: threads would leave each other a wrong one."""
    path = str(tmp_path / "leases")
    FileLeaseStore(path)
    enough = threading.Event()

    def open_often() -> None:
        while not enough.is_set():
            FileLeaseStore(path)

    def umask() -> str:
        status = Path("/proc/self/status").read_text()
        return next(line for line in status.splitlines() if line.startswith("Umask"))

    before = umask()
    threads = [threading.Thread(target=open_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    seen = {umask() for _ in range(500)}
    enough.set()
    for thread in threads:
        thread.join()
    assert seen == {before}


def test_a_child_that_is_forked_during_an_allocation_locks_nobody_out(tmp_path: Path) -> None:
    ours = FileLeaseStore(str(tmp_path / "leases"))
    others = FileLeaseStore(str(tmp_path / "leases"), patience_s=0.2)
    with ours.allocating():
        child = os.fork()
        if not child:
            signal.pause()
    try:
        with others.allocating():
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_directory_that_is_replaced_is_locked_anew(tmp_path: Path) -> None:
    path = tmp_path / "leases"
    ours = FileLeaseStore(str(path))
    with ours.allocating():
        pass
    path.rename(tmp_path / "old")
    others = FileLeaseStore(str(path))
    with others.allocating():
        fd = os.open(path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with ours.allocating(), pytest.raises(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)


def test_names_are_read_again_where_a_file_system_counts_in_seconds(tmp_path: Path) -> None:
    listing = LeaseFiles(str(tmp_path), open_folder)
    now_ns = time.time_ns() // 10**9 * 10**9
    for name in ("a", "b"):
        (tmp_path / name).touch()
        os.utime(tmp_path, ns=(now_ns, now_ns))
        assert name in listing.names()


def test_blocks_of_tasks_that_begin_and_end_elsewhere(machine: Machine) -> None:
    program = """if True:
        import asyncio
        from contextlib import ExitStack
        from simple_gpu_scheduler.client import lease
        async def late(gate):
            await gate.wait()
            with lease(on="0"):
                print("late")
        async def enter(stack):
            stack.enter_context(lease(on="1"))
        async def leave(stack):
            stack.close()
        async def main():
            gate = asyncio.Event()
            with lease(on="0"):
                task = asyncio.create_task(late(gate))
                await asyncio.sleep(0)
            gate.set()
            await task
            stack = ExitStack()
            await asyncio.create_task(enter(stack))
            await asyncio.create_task(leave(stack))
            with lease(on="1"):
                print("again")
        asyncio.run(main())
    """
    done = python(machine, program)
    assert (done.stdout.split(), done.stderr) == (["late", "again"], "")


@pytest.mark.parametrize(
    "words",
    ["vram=10", "on=0", "on=[0, 1]", 'timeout_s="10"', "timeout_s=float('nan')", 'gpus="1"',
     'on="0", gpus=True', "timeout_s=-1"],
)  # fmt: skip
def test_what_is_mixed_up_in_python_is_said(machine: Machine, words: str) -> None:
    program = f"""if True:
        from simple_gpu_scheduler.client import UsageError, take
        try:
            take({words})
        except UsageError as error:
            print(error)
    """
    assert "expected" in python(machine, program).stdout


def test_within_a_lease_nobody_waits_for_what_it_keeps_from_him(machine: Machine) -> None:
    """The outermost lease would have to end first, and it waits for us."""
    inner = "sgs lease --on 0 -- sgs lease --on 1 -- true"
    done = machine.run("sgs", "lease", "--on", "0,1", "--", "sh", "-c", inner)
    assert done.returncode == 1
    assert "GPU 1 isn't in the lease that this runs in" in done.stderr


def test_a_relative_directory_is_an_error(machine: Machine) -> None:
    env = {**machine.env, "SGS_LEASE_DIR": "leases"}
    for command in (
        ["sgs", "lease", "--on", "0", "--", "true"],
        ["simple_gpu_scheduler", "--gpus", "0"],
    ):
        done = machine.run(*command, env=env)
        assert done.returncode == 2
        assert "expected an absolute path" in done.stderr
