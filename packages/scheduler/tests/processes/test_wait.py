"""No signal is lost between two sleeps, whichever way each of them sleeps."""

from __future__ import annotations

import subprocess
import sys

import pytest

# KernelWait takes over the signals of a process, so each case has a process of its own.
_SCRIPT = """
import os, signal, sys
from simple_gpu_scheduler.processes.wait import KernelWait

read_fd, write_fd = os.pipe()
wait = KernelWait(read_fd)
heard = []

def sleep(want_input, timeout_s=30.0):
    woken = wait.wait(timeout_s, want_input=want_input)
    heard.extend(signal.Signals(number).name for number in woken.signals)
    return woken

{body}
print(*heard)
"""


def heard(body: str) -> str:
    script = _SCRIPT.format(body=body)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("after", [True, False])
def test_a_signal_between_two_sleeps_wakes_the_second(before: bool, after: bool) -> None:
    body = f"""
sleep({before}, 0.0)
os.kill(os.getpid(), signal.SIGTERM)
sleep({after})
"""
    assert heard(body) == "SIGTERM"


@pytest.mark.parametrize("want_input", [True, False])
def test_several_signals_come_each_once(want_input: bool) -> None:
    body = f"""
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    os.kill(os.getpid(), number)
while len(heard) < 3:
    sleep({want_input})
sleep({want_input}, 0.0)
"""
    assert sorted(heard(body).split()) == ["SIGHUP", "SIGINT", "SIGTERM"]


@pytest.mark.parametrize("want_input", [True, False])
def test_the_end_of_a_child_wakes_and_is_no_signal_of_the_user(want_input: bool) -> None:
    body = f"""
if os.fork() == 0:
    os._exit(0)
woken = sleep({want_input}, None)
assert woken.signals == () and not woken.input_ready
assert os.wait()[1] == 0
"""
    assert heard(body) == ""


def test_input_wakes_only_those_who_want_it() -> None:
    body = """
os.write(write_fd, b"x")
assert not sleep(False, 0.0).input_ready
assert sleep(True, None).input_ready
"""
    assert heard(body) == ""


@pytest.mark.parametrize("want_input", [True, False])
def test_what_was_ignored_at_the_start_stays_ignored(want_input: bool) -> None:
    body = f"""
signal.signal(signal.SIGHUP, signal.SIG_IGN)
wait = KernelWait(read_fd)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
os.kill(os.getpid(), signal.SIGHUP)
sleep({want_input}, 0.0)
"""
    assert heard(body) == ""


@pytest.mark.parametrize("want_input", [True, False])
@pytest.mark.parametrize("timeout_s", [-1.0, 1e-9, 0.01])
def test_time_is_up(want_input: bool, timeout_s: float) -> None:
    assert heard(f"assert sleep({want_input}, {timeout_s}) == (False, (), False)") == ""
