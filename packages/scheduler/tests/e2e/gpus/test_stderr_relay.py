"""A job that asks for memory has a pipe for its stderr: what passes through, who holds it."""

from __future__ import annotations

import os
import random
import re
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lease_machine import Server
from process_state import is_alive
from waiting import BOUND_S, wait_until

SCHEDULER = ("simple_gpu_scheduler", "--quiet")
OOM = "echo 'CUDA out of memory' >&2; exit 1"
#: In a job: the process that carries its stderr on, a child of the scheduler.
PUMP = f"$({sys.executable} -I -S find_pump $PPID)"
FIND_PUMP = """
import os, sys
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        parent = open(f"/proc/{pid}/stat", "rb").read().rpartition(b")")[2].split()[1]
        command = open(f"/proc/{pid}/cmdline", "rb").read()
    except OSError:
        continue
    if parent == os.fsencode(sys.argv[1]) and b"stderr_relay" in command:
        print(pid)
"""


@pytest.fixture(autouse=True)
def one_card(server: Server) -> None:
    server.write("")
    (server.machine.path / "find_pump").write_text(FIND_PUMP)


def begin(server: Server, lines: str, *options: str, **settings: Any) -> subprocess.Popen[bytes]:
    """A scheduler with these commands, all of them read; pipes are of bytes."""
    settings = {"text": False, "bufsize": 0, **settings}
    run: Any = server.machine.start(*SCHEDULER, "--vram", "1G", *options, **settings)
    run.stdin.write(lines.encode())
    run.stdin.close()
    return run


def read_until(run: subprocess.Popen[bytes], words: bytes) -> None:
    """Read stderr as it comes, without waiting for the end of a line."""
    assert run.stderr is not None
    got = b""
    while words not in got:
        assert select.select([run.stderr], [], [], BOUND_S)[0], f"no more than {got!r}"
        more = os.read(run.stderr.fileno(), 4096)
        assert more, f"it ended with {got!r}"
        got += more


def gate(server: Server) -> Path:
    """A FIFO: `read x < gate` waits for a line from us."""
    path = server.machine.path / "gate"
    os.mkfifo(path)
    return path


def pids(server: Server, name: str) -> list[int]:
    """Those that jobs have written into a file."""
    path = server.machine.path / name
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def test_every_byte_comes_through_and_is_not_kept(server: Server) -> None:
    blob = random.Random(1).randbytes(10_000_000)
    (server.machine.path / "blob").write_bytes(blob)
    show = f"cat /proc/{PUMP}/status > status"
    run = begin(server, f"cat blob blob blob blob >&2; {show}\n")
    assert run.stderr is not None
    assert run.stderr.read() == blob * 4
    assert run.wait(BOUND_S) == 0
    status = (server.machine.path / "status").read_text()
    most = re.search(r"VmHWM:\s*(\d+) kB", status)
    assert most is not None
    assert int(most[1]) < 30_000


def test_words_come_at_once_and_without_a_line(server: Server) -> None:
    path = gate(server)
    run = begin(server, "printf half >&2; read x < gate; printf ' done' >&2\n")
    read_until(run, b"half")
    path.write_text("\n")
    read_until(run, b" done")
    assert run.wait(BOUND_S) == 0


def test_what_came_last_is_there_before_the_scheduler_speaks(server: Server) -> None:
    """And the scheduler itself: all of it has passed before the run is over."""
    done = server.run("printf 'last words\\n' >&2; exit 3\n" * 20, "--vram", "1G")
    told = [line for line in done.stderr.splitlines() if "failed" in line or "last" in line]
    for seq in range(1, 21):
        assert any(f"job {seq} failed" in line for line in told)
        before = told[: next(n for n, line in enumerate(told) if f"job {seq} failed" in line)]
        assert before.count("last words") >= sum("failed" in line for line in before) + 1


def test_jobs_go_on_when_the_scheduler_is_killed(server: Server) -> None:
    """Their stderr, too; and nobody holds ours once they have ended."""
    path = gate(server)
    job = "echo one >&2; read x < gate; echo two >&2; echo three >&2; echo $? > survived"
    run = begin(server, f"{job}\n")
    read_until(run, b"one")
    run.kill()
    run.wait(BOUND_S)
    path.write_text("\n")
    assert run.stderr is not None
    assert run.stderr.read() == b"two\nthree\n"
    assert (server.machine.path / "survived").read_text() == "0\n"


def test_a_reader_that_went_away_does_not_end_jobs(server: Server) -> None:
    path = gate(server)
    job = "echo one >&2; read x < gate; echo two >&2; sleep 0.1; echo three >&2; echo $? > end"
    run = begin(server, f"{job}\n")
    read_until(run, b"one")
    assert run.stderr is not None
    run.stderr.close()
    path.write_text("\n")
    assert run.wait(BOUND_S) == 0
    assert (server.machine.path / "end").read_text() == "0\n"


def test_a_process_left_behind_holds_nobody_up(server: Server) -> None:
    """It has the pipe; the job's own words are heard nevertheless."""
    job = f"sleep 1000 & echo $! >> left; [ $(wc -l < left) -ge 2 ] || {{ {OOM}; }}"
    run = begin(server, f"{job}\n", stderr=subprocess.DEVNULL)
    status = run.wait(BOUND_S)
    found = pids(server, "left")
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    assert (status, len(found)) == (0, 2)


def test_not_even_one_that_never_stops_to_write(server: Server) -> None:
    run = begin(server, "yes >&2 & echo $! >> left\n" * 2, stderr=subprocess.DEVNULL)
    status = run.wait(BOUND_S)
    found = pids(server, "left")
    alive = [is_alive(pid) for pid in found]
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    assert (status, alive) == (0, [True, True])


def test_each_job_has_words_of_its_own(server: Server) -> None:
    """Eight at once, with more output than is kept; every second one runs out of memory."""
    noise = """head -c 300000 /dev/zero | tr '\\0' "$(echo '~!@%^&*+' | cut -c $SGS_SEQ)" >&2\n"""
    (server.machine.path / "noise").write_text("echo $SGS_SEQ >> tries\n" + noise)
    once = f". ./noise; [ $(grep -cx $SGS_SEQ tries) -ge 2 ] || {{ {OOM}; }}"
    done = server.run(f"{once}\n. ./noise; exit 1\n" * 4, "--vram", "1G")
    assert done.returncode == 1
    tries = (server.machine.path / "tries").read_text().split()
    assert sorted(tries) == list("112334556778")
    for seq, sign in enumerate("~!@%^&*+", start=1):
        assert done.stderr.count(sign) == 300_000 * (1 + seq % 2)


def test_words_are_of_the_last_attempt(server: Server) -> None:
    """A failure after one for want of memory is a failure."""
    job = f"echo x >> tries; [ $(wc -l < tries) -ge 2 ] && exit 5; {OOM}"
    done = server.run(f"{job}\n", "--vram", "1G")
    assert (done.returncode, len((server.machine.path / "tries").read_text())) == (1, 4)
    assert "job 1 failed with exit status 5" in done.stderr


def test_with_a_closed_stderr(server: Server) -> None:
    job = f"echo x >> tries; [ $(wc -l < tries) -ge 2 ] || {{ {OOM}; }}"
    (server.machine.path / "jobs").write_text(f"{job}\n")
    script = "simple_gpu_scheduler --quiet --vram 1G < jobs 2>&-"
    done = server.machine.run("sgs", "lease", "--", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, "")
    assert (server.machine.path / "tries").read_text() == "x\n" * 2


def test_jobs_that_ask_for_no_memory_have_our_stderr_itself(server: Server) -> None:
    show = f"readlink /proc/$$/fd/2; echo pump {PUMP}"
    with open(server.machine.path / "err", "w") as err:
        plain = server.machine.run(*SCHEDULER, lines=f"{show}\n", stderr=err)
        asks = server.machine.run(*SCHEDULER, lines=f"{show} # sgs: vram=1G\n", stderr=err)
    assert plain.stdout.splitlines() == [f"{server.machine.path}/err", "pump"]
    assert re.fullmatch(r"pipe:\[\d+\]\npump \d+\n", asks.stdout)


def test_the_pump_holds_its_pipes_alone(server: Server) -> None:
    """No lease, no stdout, nothing that the scheduler was given; and nobody's word ends it."""
    read_fd, write_fd = os.pipe()
    kill = f"kill -INT {PUMP}; kill -TERM {PUMP}; kill -HUP {PUMP}"
    show = f"cd /proc/{PUMP}/fd; for fd in *; do echo $fd $(readlink $fd); done"
    run = begin(server, f"{kill}; {show}; echo still >&2\n", pass_fds=[write_fd])
    os.close(write_fd)
    assert run.stdout is not None
    assert run.stderr is not None
    out, err = run.stdout.read(), run.stderr.read()
    fds = dict(line.split() for line in out.decode().splitlines())
    os.close(read_fd)
    assert err == b"still\n"
    assert re.sub(r"\d+", "N", " ".join(fds.values())) == (
        "socket:[N] /dev/null pipe:[N] pipe:[N]"
    )
    assert set(fds) >= {"0", "1", "2"}


def test_one_pump_serves_all_and_ends_with_the_scheduler(server: Server) -> None:
    server.run(f"echo {PUMP} >> pumps\n" * 6, "--vram", "10G")
    found = pids(server, "pumps")
    assert len(found) == 6
    assert len(set(found)) == 1
    wait_until(lambda: not is_alive(found[0]), "the pump ends")


def test_a_pump_that_was_killed_is_replaced(server: Server) -> None:
    job = f"echo x >> tries; [ $(wc -l < tries) -ge 3 ] || {{ {OOM}; }}"
    done = server.run(f"kill -KILL {PUMP}; echo x >> tries\n{job}\n", "--vram", "70G")
    assert done.returncode == 0
    assert done.stderr.count("CUDA out of memory") == 1
    assert "trying again alone" in done.stderr


def test_the_pump_is_no_part_of_a_job(server: Server) -> None:
    """Also where the scheduler is a job itself, and the pump outlives it for a process's sake."""
    named = "until grep -q sleep /proc/$!/comm; do :; done"  # after the fork comes the exec
    job = f"sleep 1000 > /dev/null & echo $! > left; {named}\n"
    (server.machine.path / "inner").write_text(job)
    inner = "simple_gpu_scheduler --quiet --vram 1G < inner 2> err"
    done = server.run(f"{inner}\n", "--vram", "70G", "--kill-leftovers")
    left = pids(server, "left")[0]
    assert is_alive(left)
    os.kill(left, signal.SIGKILL)
    assert (done.returncode, done.stderr) == (0, "")
    told = (server.machine.path / "err").read_text()
    assert told == f"simple_gpu_scheduler: job 1 left processes running: {left} (sleep)\n"
