"""When the pipe tries again to start jobs, and when it gives up."""

from __future__ import annotations

import errno
import os

import pytest

from simple_gpu_scheduler.errors import CrowdedError, PassingError
from simple_gpu_scheduler.pipe.start_pause import StartPause, may_pass


def failure(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def test_a_pause_ends_by_itself_or_with_a_job() -> None:
    pause = StartPause()
    assert pause.after_lack(PassingError("no lock"), 0.0, jobs_run=False).text
    assert pause.is_on(0.5)
    assert pause.left_s(0.5) == 0.5
    assert not pause.is_on(1.0)
    pause.after_lack(PassingError("no lock"), 2.0, jobs_run=True)
    pause.on_job_ended()
    assert not pause.is_on(2.0)
    assert pause.left_s(2.0) is None


def test_the_user_is_told_rarely() -> None:
    pause = StartPause()
    assert pause.after_lack(PassingError("a"), 0.0, jobs_run=True).text.startswith("a; waiting")
    assert not pause.after_lack(PassingError("a"), 600.0, jobs_run=True).text
    assert pause.after_lack(PassingError("a"), 601.0, jobs_run=True).text
    assert pause.after_lack(PassingError("b"), 602.0, jobs_run=True).text


def test_what_only_our_own_jobs_can_give_back_ends_the_run_if_none_runs() -> None:
    assert StartPause().after_lack(CrowdedError("a"), 0.0, jobs_run=False).gives_up
    assert not StartPause().after_lack(CrowdedError("a"), 0.0, jobs_run=True).gives_up
    assert StartPause().after_failed_start(failure(errno.EMFILE), 0.0, jobs_run=False).gives_up


def test_pauses_double_while_no_process_can_be_started() -> None:
    pause, now_s, lengths_s = StartPause(), 0.0, []
    while not pause.after_failed_start(failure(errno.EAGAIN), now_s, jobs_run=False).gives_up:
        lengths_s.append(pause.left_s(now_s))
        now_s += lengths_s[-1] or 0.0
    assert lengths_s[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert 600 <= now_s < 660
    pause.on_process_started()
    assert not pause.after_failed_start(failure(errno.EAGAIN), now_s, jobs_run=False).gives_up
    assert pause.left_s(now_s) == 1


@pytest.mark.parametrize(
    ("number", "passes"), [(errno.EAGAIN, True), (errno.ENFILE, True), (errno.ENOENT, False)]
)
def test_only_some_failures_of_a_start_pass(number: int, passes: bool) -> None:
    assert may_pass(failure(number)) is passes
