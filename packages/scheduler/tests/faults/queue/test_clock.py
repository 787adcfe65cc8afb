"""Somebody sets the clock, by hours, forth and back: only what goes by the clock heeds that."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from queues import Queue
from simple_gpu_scheduler.queue.mailbox import call
from simple_gpu_scheduler.queue.records import JobRequest
from waiting import wait_until

HOUR_S = 3600

#: A library that adds the seconds in the file $CLOCK to the wall clock, and to no other one.
CLOCK = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t which, struct timespec *now) {
    int status = (int)syscall(SYS_clock_gettime, which, now);
    const char *path = getenv("CLOCK");
    char text[32] = {0};
    int fd = which == CLOCK_REALTIME && path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        if (read(fd, text, sizeof text - 1) > 0) now->tv_sec += atol(text);
        close(fd);
    }
    return status;
}
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(CLOCK)
    target = folder / "clock.so"
    options = ["-Wall", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["cc", *options, "-o", target, folder / "clock.c"], check=True)
    return target


@pytest.fixture
def clocked(queue: Queue, library: Path) -> Queue:
    """A queue whose server has a clock that can be set."""
    queue.env |= {"LD_PRELOAD": str(library), "CLOCK": str(queue.path / "clock")}
    set_clock(queue, 0)
    return queue


def set_clock(queue: Queue, by_s: int) -> None:
    new = queue.path / "clock.new"
    new.write_text(str(by_s))
    new.rename(queue.path / "clock")


def restart(queue: Queue) -> None:
    assert queue.server is not None
    queue.server.kill()
    queue.server.wait()
    queue.start()


@pytest.mark.parametrize("by_s", [5 * HOUR_S, -5 * HOUR_S])
def test_a_timeout_is_no_matter_of_the_clock(clocked: Queue, by_s: int) -> None:
    clocked.start()
    wait = b"echo up; until [ -e go ]; do sleep 0.02; done; exit 3"
    long, short = clocked.submit(
        JobRequest(wait, timeout_s=float(HOUR_S)), JobRequest(wait, timeout_s=5.0)
    )
    wait_until(lambda: all(clocked.log(job) for job in (long, short)), "they run")
    wait_until(lambda: all(one.pid for one, _ in clocked.store.running()), "it is written down")
    set_clock(clocked, by_s)
    restart(clocked)
    (late,) = clocked.wait(short)
    assert (late.state, late.reason) == ("failed", "timed out")
    assert clocked.entry(long).state == "running"
    (clocked.path / "go").touch()
    (end,) = clocked.wait(long)
    assert (end.exit_code, end.reason) == (3, "")


def test_a_job_that_is_to_start_at_a_time_goes_by_the_clock(clocked: Queue) -> None:
    clocked.start()
    at_s = time.time() + HOUR_S
    later, now, much_later = clocked.submit(
        JobRequest(b"exit 3", not_before_s=at_s), b"exit 4",
        JobRequest(b"exit 5", not_before_s=at_s + 5 * HOUR_S),
    )  # fmt: skip
    assert clocked.wait(now)[0].exit_code == 4
    assert clocked.entry(later).state == "queued"
    set_clock(clocked, 2 * HOUR_S)
    call(str(clocked.folder))  # it would look by itself, in half a minute
    assert clocked.wait(later)[0].exit_code == 3
    set_clock(clocked, -24 * HOUR_S)
    restart(clocked)
    (job,) = clocked.submit(b"exit 6")
    assert clocked.wait(job)[0].exit_code == 6
    assert clocked.entry(much_later).state == "queued"


def test_a_server_in_another_year_knows_who_runs(clocked: Queue) -> None:
    clocked.start()
    (job,) = clocked.submit(b"echo up; until [ -e go ]; do sleep 0.02; done; exit 3")
    wait_until(lambda: clocked.log(job), "it runs")
    for years in (1, -30):
        set_clock(clocked, years * 365 * 24 * HOUR_S)
        restart(clocked)
        (other,) = clocked.submit(b"true")
        assert clocked.wait(other)[0].state == "succeeded"
    (clocked.path / "go").touch()
    assert clocked.wait(job)[0].exit_code == 3
