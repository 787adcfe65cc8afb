"""Who is signalled: processes that copied a job's mark, or have its numbers by now, are not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from process_state import is_alive
from users import as_user, needs_root
from waiting import BOUND_S, wait_until

from .conftest import ALICE, BIN, BOB, People

pytestmark = needs_root

ROOT = 0

#: Tells its mark and its number, and waits for ever; the path has a space.
JOB = 'echo "$SGS_RUN $SGS_SEQ $$" > "{0}.new"; mv "{0}.new" "{0}"; exec sleep 600'

#: An orphan with the environment that was copied; prints its number once it is one.
ORPHAN = """
run, seq = sys.argv[1:]
os.setsid()
if os.fork() == 0:
    mine = os.getpid()
    while os.getppid() != 1:
        time.sleep(0.001)
    print(mine, flush=True)
    os.execvpe("sleep", ["sleep", "600"], {**os.environ, "SGS_RUN": run, "SGS_SEQ": seq})
"""


def mark(path: Path) -> tuple[str, str, int]:
    """The mark and the number of the job that runs."""
    wait_until(path.exists, "the job runs")
    run, seq, pid = path.read_text().split()
    return run, seq, int(pid)


def orphan_of_bob(people: People, run: str, seq: str) -> int:
    """Bob's, with a copy of the mark."""
    program = ORPHAN.replace("print(mine, flush=True)", "open(sys.argv[3], 'w').write(str(mine))")
    program = program.replace("run, seq = sys.argv[1:]", "run, seq = sys.argv[1:3]")
    told = people.home(BOB) / "orphan"
    people.attack(BOB, program + "print(flush=True)", run, seq, str(told))
    wait_until(lambda: told.exists() and told.read_text(), "Bob's is an orphan")
    return int(told.read_text())


@pytest.fixture
def queue_of(people: People) -> Iterator[list[int]]:
    """Users whose servers are ended after the test."""
    users: list[int] = []
    yield users
    for uid in users:
        people.run(uid, "sgs", "cancel", "1")
        people.run(uid, "sgs", "server", "stop")


def submit(people: People, uid: int, command: str) -> None:
    done = people.run(uid, "sgs", "server", "start", "--gpus", "0,1")
    assert done.returncode == 0, done.stderr
    done = people.run(uid, "sgs", "submit", command)
    assert done.returncode == 0, done.stderr


def cancel(people: People, uid: int) -> None:
    """Returns once it is over, with all of its processes."""
    done = people.run(uid, "sgs", "cancel", "1")
    assert done.returncode == 0, done.stderr
    assert people.run(uid, "sgs", "wait", "1").returncode != 0
    ended = json.loads(people.run(uid, "sgs", "status", "--all", "--json").stdout)
    assert [one["state"] for one in ended] == ["cancelled"]


def test_root_s_queue_leaves_alone_whoever_copied_the_mark(
    people: People, queue_of: list[int]
) -> None:
    queue_of.append(ROOT)
    path = people.home(ROOT) / "a b"
    submit(people, ROOT, JOB.format(path))
    run, seq, job = mark(path)
    theirs = orphan_of_bob(people, run, seq)
    cancel(people, ROOT)
    assert not is_alive(job)
    assert is_alive(theirs)


def test_root_s_pipe_leaves_alone_whoever_copied_the_mark(people: People) -> None:
    path = people.home(ROOT) / "a b"
    pipe = people.start(ROOT, "simple_gpu_scheduler", "--gpus", "0")
    assert pipe.stdin is not None
    pipe.stdin.write(JOB.format(path) + "\n")
    pipe.stdin.flush()
    run, seq, job = mark(path)
    theirs = orphan_of_bob(people, run, seq)
    pipe.send_signal(signal.SIGTERM)
    said = pipe.communicate(timeout=60)[1]
    assert not is_alive(job)
    assert is_alive(theirs)
    assert f" {theirs} " not in said  # it isn't told as left behind


def test_a_shell_with_a_job_s_environment_outlives_the_job(
    people: People, queue_of: list[int]
) -> None:
    """As one has it to debug: its parent is another shell, that lives."""
    queue_of.append(ALICE)
    path = people.home(ALICE) / "a b"
    submit(people, ALICE, JOB.format(path))
    run, seq, job = mark(path)
    copied = people.environ(ALICE, SGS_RUN=run, SGS_SEQ=seq)
    shell = people.start(ALICE, "sh", "-c", "sleep 600 & echo $!; wait", env=copied)
    assert shell.stdout is not None
    within = int(shell.stdout.readline())
    cancel(people, ALICE)
    assert not is_alive(job)
    assert shell.poll() is None
    assert is_alive(within)


def test_another_user_s_processes_of_a_job_of_root_end_with_it(
    people: People, queue_of: list[int]
) -> None:
    """Descent tells whose they are: also of one in its session whose parent has ended."""
    queue_of.append(ROOT)
    told = people.path / "bob"
    told.mkdir()
    told.chmod(0o777)
    as_bob = " ".join(as_user(BOB, ["sh", "-c", "'echo $$ > {}; exec sleep 600'"]))
    path = people.home(ROOT) / "a b"
    child, orphan = (f"{as_bob.format(told / name)} &" for name in ("child", "orphan"))
    submit(people, ROOT, f"{child} ({orphan}); {JOB.format(path)}")
    mark(path)
    found = []
    for name in ("child", "orphan"):
        wait_until(lambda one=told / name: one.exists() and one.read_text(), "Bob's are there")
        found.append(int((told / name).read_text()))
    assert all(map(is_alive, found))
    cancel(people, ROOT)
    assert not any(map(is_alive, found))


# numbers that are used again: in a pid namespace of our own, where we say which is next

#: Begins a program that is pid 1 there.
NAMESPACE = """
import json, os, signal, subprocess, sys, time
from pathlib import Path

def until(seen):
    limit = time.monotonic() + 60
    while not (found := seen()):
        assert time.monotonic() < limit
        time.sleep(0.005)
        reap()
    return found

def reap():
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return

def number_is_next(pid):
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))

def newcomer(pid):
    "A session of that number, whose first process has ended; returns who is in it."
    read, write = os.pipe()
    number_is_next(pid)
    first = os.fork()
    if first == 0:
        os.setsid()
        second = os.fork()
        if second == 0:
            os.close(write)
            os.execvp("sleep", ["sleep", "600"])
        os.write(write, b"%d" % second)
        os._exit(0)
    assert first == pid, (first, pid)
    os.waitpid(first, 0)
    return int(os.read(read, 20))

def is_alive(pid):
    "Also False if it was killed, and the kernel hasn't ended it yet."
    from simple_gpu_scheduler.system.proc import is_dying
    return not is_dying(pid)
"""


def in_namespace(people: People, program: str, *words: str) -> None:
    """Run it as pid 1 of a pid namespace; all that it leaves ends with it."""
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-c",
         NAMESPACE + textwrap.dedent(program), *words],
        env=people.environ(ROOT), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if "unshare" in done.stderr:
        pytest.skip(f"no pid namespace here: {done.stderr}")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("newcomers", ["session", "process"])
def test_who_has_a_dead_job_s_number_is_neither_cancelled_nor_adopted(
    people: People, newcomers: str
) -> None:
    """Server, launcher and job were killed; the number of process and session is used again."""
    program = """
    sgs, job, kind = sys.argv[1:]
    state = Path(os.environ["SGS_STATE_DIR"])
    def run(*words):
        done = subprocess.run([sgs, *words], capture_output=True, text=True)
        assert done.returncode == 0, done
        return done.stdout
    def processes():
        found = {}
        for one in filter(str.isdigit, os.listdir("/proc")):
            try:
                found[int(one)] = Path(f"/proc/{one}/cmdline").read_bytes()
            except OSError:
                pass
        return found
    run("server", "start", "--gpus", "0,1")
    run("submit", job)
    until(Path("told").exists)
    pid = int(Path("told").read_text().split()[2])
    import sqlite3
    database = next(state.rglob("queue.sqlite3"))
    def written():
        with sqlite3.connect(database) as file:
            return file.execute("SELECT pid FROM attempts WHERE pid IS NOT NULL").fetchone()
    until(written)
    programs = b"queue.server.main", b"launcher/main"
    victims = [one for one, line in processes().items()
               if one != 1 and any(name in line for name in programs)]
    assert len(victims) == 2, processes()
    for one in (*victims, pid):
        os.kill(one, signal.SIGKILL)
    until(lambda: not any(os.path.exists(f"/proc/{one}") for one in (*victims, pid)))
    if kind == "session":
        theirs = newcomer(pid)
    else:
        number_is_next(pid)
        other = subprocess.Popen(["sleep", "600"], start_new_session=True)
        theirs = other.pid
        assert theirs == pid
    with sqlite3.connect(database) as file:
        file.execute("UPDATE jobs SET stop = 'cancelled'")
    run("server", "start")
    subprocess.run([sgs, "wait", "1"], timeout=60)
    state = json.loads(run("status", "--all", "--json"))[0]["state"]
    assert state in ("lost", "cancelled"), state
    assert is_alive(theirs), "the newcomer was killed"
    run("server", "stop")
    """
    sgs = str(Path(sys.executable).with_name("sgs"))
    job = JOB.format("told")
    in_namespace(people, f"os.chdir({str(people.home(ROOT))!r})\n" + textwrap.dedent(program),
                 sgs, job, newcomers)  # fmt: skip


def test_who_has_an_ended_job_s_number_is_not_what_the_pipe_left(people: People) -> None:
    program = """
    from simple_gpu_scheduler.processes.runner import ProcessRunner
    from simple_gpu_scheduler.jobs.job import Job
    runner = ProcessRunner("/bin/sh", os.environb, b"run")
    for signalled in (False, True):
        pid = runner.start(Job(1, b"exit 0"), ("0",))
        limit = time.monotonic() + 60
        while runner.reap() is None:
            assert time.monotonic() < limit
        time.sleep(0.03)  # so that the newcomer starts in a later tick of the kernel's
        theirs = newcomer(pid)
        if signalled:
            assert runner.signal(pid, 1, signal.SIGKILL) == 0
        assert runner.leftovers(pid, 1, thorough=True) == ()
        assert runner.leftovers(pid, 1, thorough=False) == ()
        assert is_alive(theirs)
    """
    in_namespace(people, program)


def test_what_the_pipe_s_job_left_without_its_mark_is_found_by_its_session(people: People) -> None:
    """The same, but that it is the job's."""
    program = """
    from simple_gpu_scheduler.processes.runner import ProcessRunner
    from simple_gpu_scheduler.jobs.job import Job
    runner = ProcessRunner("/bin/sh", os.environb, b"run")
    pid = runner.start(Job(1, b"env -i sleep 600 & exit 0"), ("0",))
    limit = time.monotonic() + 60
    while runner.reap() is None:
        assert time.monotonic() < limit
    (left,) = runner.leftovers(pid, 1, thorough=True)
    assert runner.signal(pid, 1, signal.SIGKILL) == 1
    until(lambda: not is_alive(left.pid))
    """
    in_namespace(people, program)


def test_a_number_that_changes_hands_between_the_look_and_the_signal(people: People) -> None:
    program = """
    from simple_gpu_scheduler.system.proc import find_process
    from simple_gpu_scheduler.processes.tree import Member
    from simple_gpu_scheduler.processes.tree_signals import signal_all
    for has_pidfd in (True, False):
        if not has_pidfd:
            def fails(*_):
                raise OSError(38, "as before Linux 5.3")
            os.pidfd_open = fails
        old = subprocess.Popen(["sleep", "600"])
        member = Member(old.pid, find_process(old.pid).start_ticks)
        old.kill()
        old.wait()
        time.sleep(0.03)  # so that the newcomer starts in a later tick of the kernel's
        number_is_next(member.pid)
        new = subprocess.Popen(["sleep", "600"])
        assert new.pid == member.pid
        signal_all(lambda: (member,), signal.SIGKILL)
        assert is_alive(new.pid)
        signal_all(lambda: (Member(new.pid, find_process(new.pid).start_ticks),), signal.SIGKILL)
        assert new.wait(60) == -signal.SIGKILL
    """
    in_namespace(people, program)


def test_a_worker_whom_somebody_else_has_waited_for_is_not_killed_by_its_number(
    people: People,
) -> None:
    """A program that waits for all children, as some libraries do."""
    program = """
    from simple_gpu_scheduler.executors.worker import PythonWorker
    worker = PythonWorker(os.environ)
    os.kill(worker.pid, signal.SIGKILL)
    os.waitpid(worker.pid, 0)
    time.sleep(0.03)  # so that the newcomer starts in a later tick of the kernel's
    theirs = newcomer(worker.pid)
    number = os.getpgid(theirs)
    assert number == worker.pid
    worker.kill()
    worker.close(0)
    assert is_alive(theirs)
    """
    in_namespace(people, program)


#: An environment of a gibibyte: nobody has to write it, and who reads it has to hold it.
HUGE = """
size = 1 << 30
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.sbrk.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
at = libc.mmap(None, size, 1, 0x4022, -1, 0)
fields = open("/proc/self/stat").read().rsplit(")", 1)[1].split()
words = [int(fields[number - 3]) for number in (26, 27, 45, 46, 47, 47, 28, 48, 49)]
words[5] = libc.sbrk(0)
known = ctypes.create_string_buffer(struct.pack("11QQIi", *words, at, at + size, 0, 0, -1))
assert libc.prctl(35, 14, ctypes.byref(known), len(known) - 1, 0) == 0, ctypes.get_errno()
print(flush=True)
sys.stdin.read()
"""


def test_root_does_not_read_what_others_have_made_huge(people: People) -> None:
    """Root may read any environment; one of another user says nothing."""
    limited = f"ulimit -v 1000000; exec {BIN}/simple_gpu_scheduler --gpus 0 --quiet"
    run = subprocess.Popen(
        ["bash", "-c", limited], env=people.env, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert run.stdin is not None
    assert run.stdout is not None
    os.mkfifo(people.path / "gate")
    run.stdin.write(f"echo runs; cat {people.path}/gate; (sleep 0.1 &)\n")
    run.stdin.flush()
    assert run.stdout.readline() == "runs\n"
    for _ in range(3):  # younger than the run
        people.attack(BOB, HUGE)
    (people.path / "gate").write_text("went on\n")
    out, err = run.communicate(timeout=BOUND_S)
    assert (run.returncode, out) == (0, "went on\n"), err
    assert "Traceback" not in err
