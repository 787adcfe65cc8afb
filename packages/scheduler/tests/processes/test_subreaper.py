"""Where orphans go is found out where /proc doesn't show it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from simple_gpu_scheduler.processes.subreaper import Subreapers
from simple_gpu_scheduler.system.proc import find_process

ASKS = """
import os, sys
from simple_gpu_scheduler.processes.subreaper import Subreapers
from simple_gpu_scheduler.system.proc import find_process
one = os.getppid()
known = {}
while one > 0:
    known[one] = find_process(one)
    one = known[one].parent
print(Subreapers(known).may_go_to(os.getppid()))
"""

#: Asks for orphans or doesn't, and starts one that wants to know.
PARENT = """
import ctypes, subprocess, sys
ctypes.CDLL(None).prctl(36, int(sys.argv[1]), 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
subprocess.run([sys.executable, "-c", sys.argv[2]], check=True)
"""


@pytest.mark.parametrize("asks", [0, 1])
def test_an_ancestor_is_given_orphans_if_it_asked_for_them(asks: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PARENT, str(asks), ASKS], capture_output=True, check=True, text=True
    )
    assert done.stdout == f"{asks == 1}\n"


def test_the_first_process_of_all_is_given_them_and_so_are_we() -> None:
    orphans = Subreapers({})
    assert orphans.may_go_to(1)
    assert orphans.may_go_to(os.getpid())
    assert not orphans.may_go_to(0)


def test_the_children_of_one_that_has_ended_since_it_was_looked_at_are_orphans() -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        one = find_process(other.pid)
        assert one is not None
        assert not Subreapers({other.pid: one}).may_go_to(other.pid)
        older = one._replace(start_ticks=one.start_ticks - 1)  # its number is used again
        assert Subreapers({other.pid: older}).may_go_to(other.pid)
        other.kill()
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert Subreapers({other.pid: one}).may_go_to(other.pid)
        other.wait()
        assert Subreapers({other.pid: one}).may_go_to(other.pid)


def test_one_that_is_no_ancestor_of_ours_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        known = {pid: one for pid in (os.getppid(), other.pid) if (one := find_process(pid))}
        monkeypatch.setattr(subprocess, "run", None)  # it need not be tried
        assert not Subreapers(known).may_go_to(other.pid)
        other.kill()
