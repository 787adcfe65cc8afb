"""Directives: what a job line says about its job."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.jobs.directives import apply_directives, apply_queue_directives
from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job


def directed(command: bytes) -> Job:
    return apply_directives(Job(1, command))


@pytest.mark.parametrize(
    "command",
    [
        b"python train.py  # sgs: gpus=2 timeout=1m retries=3 jobs-per-gpu=4",
        b"python train.py #sgs:gpus=2 timeout=60s retries=3 jobs-per-gpu=4 ",
        b"echo '# sgs: gpus=9' # sgs: gpus=2 timeout=1m retries=3 jobs-per-gpu=4",
        b"#SGS gpus=2 timeout=1m\n#SGS retries=3 jobs-per-gpu=4\ntrue\n",
        b"#!/bin/sh\n# a note\n#SGS gpus=2 timeout=1m retries=3 jobs-per-gpu=4\ntrue",
        b"#SGS gpus=2 timeout=1m retries=3\ntrue\necho x # sgs: jobs-per-gpu=4\n",
        b"# sgs: gpus=2 timeout=1m retries=3 jobs-per-gpu=4",
        b"#SGS: gpus=2 timeout=1m\n\n# sgs: retries=3\n  #\tSgs jobs-per-gpu=4\ntrue\n",
        b"python train.py #sgs gpus=2 timeout=1m retries=3 jobs-per-gpu=4",
        b"python train.py # SGS: gpus=2 timeout=1m retries=3 jobs-per-gpu=4",
        b"python train.py # sgs : gpus=2 timeout=1m retries=3 jobs-per-gpu=4",
        b"(true)#SGS gpus=2 timeout=1m retries=3 jobs-per-gpu=4",
        b"true\n#SGS gpus=2 timeout=1m retries=3 jobs-per-gpu=4\n",
    ],
)
def test_directives(command: bytes) -> None:
    job = directed(command)
    assert (job.gpus, job.timeout_s, job.tries, job.units) == (2, 60.0, 3, GPU_UNITS // 4)


@pytest.mark.parametrize(
    "command",
    [
        b"echo '# sgs: gpus=2'",
        b'echo "a # sgs: gpus=2"',
        b"echo a\\# sgs: gpus=2",
        b"echo a# sgs: gpus=2",
        b"echo \\' '# sgs: gpus=2'",
        b"echo # sgs: gpus=2\ntrue",
        b"true\n#SGS gpus=2\nfalse",
        b"echo # sgs is a command, as in: sgs results",
        b"echo # sgs",
        b"echo # sgs results --sort=loss",
        b"echo # sgss: gpus=2",
        b"#sgsgpus=2\ntrue",
        b"#SGS our cluster's\ntrue",
    ],
)
def test_what_only_looks_like_a_directive(command: bytes) -> None:
    assert directed(command) == Job(1, command)


@pytest.mark.parametrize(
    ("words", "named"),
    [("gpu=2", "gpu"), ("gpus", "gpus"), ("gpus=0", "gpus=0"), ("gpus=-1", "gpus=-1"),
     ("gpus=two", "gpus=two"), ("timeout=x", "timeout"), ("jobs-per-gpu=65", "jobs-per-gpu=65"),
     ("gpus=" + "9" * 5000, "gpus"), ("gpus=²", "gpus"), ("vrm=10G", "vrm")],
)  # fmt: skip
def test_bad_directives_are_named(words: str, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        directed(f"true # sgs: {words}".encode())


def test_a_timeout_of_nothing_takes_back_that_of_all() -> None:
    job = Job(1, b"true # sgs: timeout=0", timeout_s=5.0)
    assert apply_directives(job).timeout_s is None


@pytest.mark.parametrize("words", ["priority=5", "vram=auto"])
def test_what_only_the_queue_knows_is_said_to_be_its(words: str) -> None:
    with pytest.raises(UsageError, match=rf"{words}.* is for the queue \(sgs submit\)"):
        directed(f"true # sgs: {words}".encode())


@pytest.mark.parametrize(
    ("words", "priority"), [("priority=5", 5), ("priority=-3 gpus=2", -3), ("gpus=2", 1)]
)
def test_a_queued_command_says_its_priority(words: str, priority: int) -> None:
    command = f"true # sgs: {words}".encode()
    assert apply_queue_directives(Job(1, command), 1)[1] == priority


def test_a_queued_command_has_its_memory_found_out() -> None:
    command = b"true # sgs: vram=auto"
    asked = Job(1, command, memory_mib=512, units=GPU_UNITS // 64)
    assert apply_queue_directives(asked, 0)[0] == Job(1, command, auto_memory=True)
    assert apply_queue_directives(Job(1, command, units=GPU_UNITS // 2), 0)[0].units == (
        GPU_UNITS // 2
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [("priority=high", "expected a whole number"), ("priority=", "expected a whole number"),
     ("priority=1234567890", "expected a whole number"), ("prio=5", "known are .*priority=P")],
)  # fmt: skip
def test_bad_directives_of_the_queue_are_named(words: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        apply_queue_directives(Job(1, f"true # sgs: {words}".encode()), 0)


@given(st.binary(max_size=200))
def test_directives_never_crash(command: bytes) -> None:
    with contextlib.suppress(UsageError):
        directed(command + b"# sgs: " + command)
