"""What users write: durations, directives, GPU ids."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.gpus.ids import GpuName, parse_gpu_ids, uuids, visible_ids
from simple_gpu_scheduler.jobs.directives import apply_directives, apply_queue_directives
from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job
from simple_gpu_scheduler.units.durations import parse_duration_s, short_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), (".5", 0.5), ("2m", 120), ("1h30m", 5400), ("0", 0), ("10S", 10),
     ("500ms", 0.5), ("1m500ms", 60.5), ("1.5MS", 0.0015),
     ("1d3.5h16.6m4s", 86400 + 12600 + 996 + 4)],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration_s(text, "--timeout") == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "s", "-1", "1x", "1h30", "1e3", "nan", "inf", "٣", "1 m", "ms", "1sm", "1w"]
)
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="--timeout"):
        parse_duration_s(text, "--timeout")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0s"), (59.9, "59s"), (125, "2m05s"), (7260, "2h01m"), (190_000, "2d04h"), (-1, "0s")],
)
def test_short_durations(seconds: float, text: str) -> None:
    assert short_duration(seconds) == text


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


@pytest.mark.parametrize(
    "words", [["0", "1", "2"], ["0,1,2"], ["0,1", "2"], ["0, 1", " 2"], ["0,1,2 "]]
)
def test_gpu_ids(words: list[str]) -> None:
    assert parse_gpu_ids(words) == ("0", "1", "2")


def test_gpu_ids_are_free_strings() -> None:
    assert parse_gpu_ids(["GPU-8f3a,MIG-1/2/3", "é"]) == ("GPU-8f3a", "MIG-1/2/3", "é")


@pytest.mark.parametrize(
    ("words", "message"),
    [([""], "names no GPU"), ([","], "names no GPU"), (["0,"], "empty id"), (["0,,1"], "empty"),
     (["0", "0"], "twice.*jobs-per-gpu"), (["0\n1"], "no GPU can have")],
)  # fmt: skip
def test_bad_gpu_ids(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_gpu_ids(words)


CARDS = [GpuName("0", "GPU-aaa1"), GpuName("1", "GPU-aab2"), GpuName("", "MIG-c3")]


def test_known_ids() -> None:
    found = {"01": "GPU-aab2", "GPU-aaa": "GPU-aaa1", "MIG-c3": "MIG-c3"}
    assert uuids(["01", "GPU-aaa", "MIG-c3"], CARDS) == found


@pytest.mark.parametrize(
    ("ids", "message"),
    [(["2"], "unknown GPU '2'; this machine has 0, 1, MIG-c3"), (["GPU-aa"], "unknown"),
     (["x"], "unknown"), (["1", "GPU-aab2"], "twice: 1 and GPU-aab2"), (["0", "00"], "twice")],
)  # fmt: skip
def test_unknown_ids(ids: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        uuids(ids, CARDS)


@pytest.mark.parametrize(
    ("inherited", "expected"),
    [
        (None, ("0", "1", "MIG-c3")),
        ("1,0", ("1", "0")),
        ("1", ("1",)),
        ("GPU-aab", ("GPU-aab",)),
        ("0,-1,1", ("0",)),
        ("", ()),
        ("NoDevFiles", ()),
        ("1,1", ("1",)),
    ],
)
def test_visible_ids_follow_cuda(inherited: str | None, expected: tuple[str, ...]) -> None:
    assert visible_ids(CARDS, inherited) == expected
