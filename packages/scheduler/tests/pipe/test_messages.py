"""What people and programs are told."""

from __future__ import annotations

import json
import os

import pytest

from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.pipe.console import format_event
from simple_gpu_scheduler.pipe.events import (
    Counts,
    Ended,
    Finished,
    Notice,
    Progress,
    Rejected,
    Skipped,
)
from simple_gpu_scheduler.pipe.json_events import event_record
from simple_gpu_scheduler.pipe.progress_bar import ProgressBar, progress_text, seconds_left
from simple_gpu_scheduler.policy.model import Hold, Running, Start
from simple_gpu_scheduler.processes.records import Exit, Leftover

JOB = Job(4, "echo 'é' \"q\"\nexit 1\n".encode())
ONE = Running(JOB, ("0", "GPU-8f"), 77, 10.0, 1700000000.0)


def ended(done: Exit, **more: object) -> Ended:
    return Ended(ONE, done, 1.25, done.exit_code == 0)._replace(**more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            Start(JOB, ("0", "GPU-8f")),
            "Processing command `echo 'é' \"q\"\\nexit 1` on gpu 0,GPU-8f\n",
        ),
        (ONE, ""),
        (ended(Exit(77, 0, None)), ""),
        (
            ended(Exit(77, 3, None)),
            "simple_gpu_scheduler: job 4 failed with exit status 3 after 1.2 s: "
            "`echo 'é' \"q\"\\nexit 1`\n",
        ),
        (
            ended(Exit(77, 0, None), running=ONE._replace(timed_out=True), ok=False),
            "simple_gpu_scheduler: job 4 timed out (its exit status was 0) after 1.2 s: "
            "`echo 'é' \"q\"\\nexit 1`\n",
        ),
        (
            ended(Exit(77, None, 9), retry=True),
            "simple_gpu_scheduler: job 4 was ended by SIGKILL; trying again (attempt 2)\n",
        ),
        (
            ended(Exit(77, 0, None), leftovers=(Leftover(8, "sleep"), Leftover(9, "a b"))),
            "simple_gpu_scheduler: job 4 left processes running: 8 (sleep), 9 (a b)\n",
        ),
        (
            Rejected(2, b"x" * 999, "is bad", 0.0),
            f"simple_gpu_scheduler: error: line 2: is bad: `{'x' * 200}...`\n",
        ),
        (Skipped(1), ""),
        (Notice("so it is"), "simple_gpu_scheduler: so it is\n"),
        (Finished(Counts(succeeded=5), 0), ""),
        (
            Finished(Counts(succeeded=1, failed=2, aborted=1, unstarted=7), 1),
            "simple_gpu_scheduler: 2 of 4 jobs failed; 1 ended before their time; "
            "7 read but not started\n",
        ),
    ],
)
def test_messages(event: object, text: str) -> None:
    event = _with_tries_unbounded(event)
    assert format_event(event).decode() == text  # type: ignore[arg-type]


def _with_tries_unbounded(event: object) -> object:
    if isinstance(event, Ended) and event.retry:
        running = event.running._replace(job=JOB._replace(tries=0))
        return event._replace(running=running)
    return event


def test_bytes_that_are_no_text_are_shown_as_they_came() -> None:
    assert b"`echo \xff`" in format_event(Start(Job(1, b"echo \xff"), ("0",)))


@pytest.mark.parametrize("command", [b"echo \xff\xfe", "é\n\t\"'".encode(), b"a"])
def test_events_bring_back_the_very_bytes_of_a_command(command: bytes) -> None:
    started = ONE._replace(job=Job(1, command))
    record = json.loads(json.dumps(event_record(started)))
    assert os.fsencode(record["command"]) == command


def progress(**more: object) -> Progress:
    base = Progress(20.0, Counts(succeeded=2, failed=1, skipped=1), (ONE,), 8, True, None)
    return base._replace(**more)  # type: ignore[arg-type]


def test_progress_says_how_far_and_how_long() -> None:
    text = progress_text(progress(), start_s=8.0, width=200)
    assert text == (
        "[##########..........]  4/8 done  1 failed  1 running  ETA 16s  gpu 0,GPU-8f: #4 10s"
    )


def test_progress_without_an_end_in_sight() -> None:
    text = progress_text(progress(complete=False), start_s=8.0, width=200)
    assert text == "4/? done  1 failed  1 running  gpu 0,GPU-8f: #4 10s"
    assert seconds_left(progress(complete=False), 0.0) is None
    assert seconds_left(progress(counts=Counts()), 0.0) is None


def test_progress_says_why_a_job_of_several_gpus_waits() -> None:
    hold = Hold(Job(9, b"", gpus=2), free=1)
    assert progress_text(progress(hold=hold), 0.0, 300).endswith("#9 needs 2 GPUs, and 1 is free")
    single = Hold(Job(9, b""), free=0)
    assert "#9" not in progress_text(progress(hold=single), 0.0, 300)


def test_progress_fits_the_terminal() -> None:
    assert len(progress_text(progress(), 0.0, 20)) == 20


def test_an_empty_input_has_a_full_bar() -> None:
    nothing = progress(counts=Counts(), running=(), known=0)
    assert progress_text(nothing, 0.0, 99).startswith(f"[{'#' * 20}]  0/0 done")


def test_plain_progress_is_a_line_at_most_each_second() -> None:
    read_fd, write_fd = os.pipe()
    bar = ProgressBar(write_fd, terminal=False, start_s=0.0)
    for n in range(1, 31):
        bar.on_event(progress(now_s=n / 10, counts=Counts(succeeded=n), known=99))
    bar.on_event(progress(now_s=3.05, counts=Counts(succeeded=99), running=(), known=99))
    bar.close()
    os.close(write_fd)
    with os.fdopen(read_fd) as file:
        lines = file.read().splitlines()
    assert [line.split("  ")[1] for line in lines] == [
        "1/99 done",
        "11/99 done",
        "21/99 done",
        "99/99 done",
    ]
