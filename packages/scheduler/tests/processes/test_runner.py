"""What the loop may expect of a runner; the real one and the public fake both keep it."""

from __future__ import annotations

import os
import select
import signal
import time
import uuid
from typing import Protocol

import pytest

from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.processes.ports import Runner
from simple_gpu_scheduler.processes.records import Exit
from simple_gpu_scheduler.processes.runner import ProcessRunner
from simple_gpu_scheduler.testing.pipe import FakeRunner, ManualClock


class Bench(Protocol):
    runner: Runner

    def next_exit(self) -> Exit: ...


class RealBench:
    def __init__(self) -> None:
        self.runner = ProcessRunner("/bin/sh", os.environb, uuid.uuid4().hex.encode())

    def next_exit(self) -> Exit:
        deadline_s = time.monotonic() + 30
        while time.monotonic() < deadline_s:
            done = self.runner.reap()
            if done is not None:
                return done
            select.select([], [], [], 0.005)
        raise AssertionError("no job ended in 30 s")


class FakeBench:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.runner = FakeRunner(self.clock)

    def next_exit(self) -> Exit:
        end_s = self.runner.next_end_s()
        assert end_s is not None, "no job would ever end"
        self.clock.advance_to(end_s)
        done = self.runner.reap()
        assert done is not None
        return done


@pytest.fixture(params=[RealBench, FakeBench])
def bench(request: pytest.FixtureRequest) -> Bench:
    return request.param()


def test_an_exit_status_comes_back_once(bench: Bench) -> None:
    pid = bench.runner.start(Job(1, b"sleep 0.01; exit 7"), ("0",))
    assert bench.runner.reap() is None
    done = bench.next_exit()
    assert (done.pid, done.exit_code, done.signal) == (pid, 7, None)
    assert bench.runner.reap() is None


def test_jobs_end_in_their_own_order(bench: Bench) -> None:
    slow = bench.runner.start(Job(1, b"sleep 0.3"), ("0",))
    quick = bench.runner.start(Job(2, b"exit 0"), ("1",))
    assert bench.next_exit().pid == quick
    assert bench.next_exit().pid == slow


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_a_job(bench: Bench, number: int) -> None:
    pid = bench.runner.start(Job(1, b"exec sleep 60"), ("0",))
    assert bench.runner.signal(pid, 1, number) == 1
    done = bench.next_exit()
    assert (done.exit_code, done.signal) == (None, number)
    assert bench.runner.leftovers(pid, 1, thorough=True) == ()


def test_a_job_that_has_ended_can_be_signalled_no_more(bench: Bench) -> None:
    pid = bench.runner.start(Job(1, b"exit 0"), ("0",))
    bench.next_exit()
    assert bench.runner.signal(pid, 1, signal.SIGTERM) == 0


def test_the_last_words_of_a_job_that_asks_for_memory(bench: Bench) -> None:
    failing = Job(1, b"echo CUDA out of memory >&2; exit 1", memory_mib=100)
    other = Job(2, b"echo something else >&2; sleep 0.01; exit 1", memory_mib=100)
    bench.runner.start(failing, ("0",))
    bench.runner.start(other, ("1",))
    bench.next_exit()
    bench.next_exit()
    assert bench.runner.last_words(failing).startswith(b"CUDA out of memory")
    assert bench.runner.last_words(other).startswith(b"something else")
