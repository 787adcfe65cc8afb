"""Processes are found by what they carry, whatever they are doing just then."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from simple_gpu_scheduler.leases.records import LeaseRecord
from simple_gpu_scheduler.processes import tree as process_tree
from simple_gpu_scheduler.processes.membership import FirstProcess
from simple_gpu_scheduler.processes.tree import Member
from simple_gpu_scheduler.queue.preview import holder_lives

#: Of a job whose first process isn't known, so that only what a process carries tells whose it is.
UNKNOWN = FirstProcess(0, 0)

RUN = "run of the test"

#: Becomes another program again and again, for ten million times or until it is ended.
CHANGING = '[ $1 -ge 10000000 ] || exec /bin/sh -c "$0" "$0" $(($1 + 1))'


@contextmanager
def running(*command: str, environ: dict[str, str]) -> Iterator[int]:
    process = subprocess.Popen(command, env=environ)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def pids(members: Iterable[Member]) -> list[int]:
    return [one.pid for one in members]


def test_one_that_becomes_another_program_is_always_found() -> None:
    carried = {**os.environ, "SGS_RUN": RUN, "SGS_SEQ": "7"}
    with running("/bin/sh", "-c", CHANGING, CHANGING, "0", environ=carried) as pid:
        for _ in range(500):  # of a hundred looks, one falls in the midst of execve(2)
            assert pids(process_tree.members(UNKNOWN, RUN.encode(), 7)) == [pid]
            assert process_tree.marked(RUN.encode()) == {7: [pid]}


def test_one_without_an_environment_is_nobodys() -> None:
    with running("/bin/sleep", "60", environ={}):
        assert process_tree.members(UNKNOWN, RUN.encode(), 7) == ()
        assert process_tree.marked(RUN.encode()) == {}


def test_one_of_another_job_or_run_is_not_found() -> None:
    with running("/bin/sleep", "60", environ={"SGS_RUN": RUN, "SGS_SEQ": "71"}):
        assert process_tree.members(UNKNOWN, RUN.encode(), 7) == ()
        assert process_tree.members(UNKNOWN, b"another", 71) == ()


def test_one_that_has_ended_is_not_found() -> None:
    process = subprocess.Popen(["/bin/true"], env={"SGS_RUN": RUN, "SGS_SEQ": "7"})
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert process_tree.members(UNKNOWN, RUN.encode(), 7) == ()
    finally:
        process.wait()


def test_the_lease_of_one_whose_number_is_another_s_is_an_orphan_s() -> None:
    with running("/bin/sleep", "60", environ={}) as pid:
        lease = LeaseRecord("1", os.getuid(), "me", pid, "job", time.time(), ("0",), 1)
        assert holder_lives(lease)
        assert not holder_lives(lease._replace(since_s=time.time() - 3600))  # it is younger
    assert not holder_lives(lease)
