"""The loop under a virtual clock: whole runs, decided by the real policy."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.errors import HopelessError
from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job
from simple_gpu_scheduler.leases.records import Lease
from simple_gpu_scheduler.pipe.events import Ended, Finished, Notice, Rejected, Skipped
from simple_gpu_scheduler.pipe.halt import parse_halt
from simple_gpu_scheduler.pipe.joblog import DoneJobs
from simple_gpu_scheduler.pipe.loop import Pipe
from simple_gpu_scheduler.policy.model import Card, PipePolicy, Running
from simple_gpu_scheduler.testing.pipe import (
    FakeRunner,
    FakeWait,
    FreeLeases,
    ListSource,
    ManualClock,
    Recorder,
)


class World:
    """One run, and what was seen of it."""

    def __init__(
        self,
        commands: Sequence[str],
        *,
        gpus: Sequence[str] = ("0", "1"),
        signals: Sequence[tuple[float, int]] = (),
        halt: str = "never",
        done: DoneJobs | None = None,
        runner: type[FakeRunner] = FakeRunner,
        policy: PipePolicy | None = None,
        **asks: Any,
    ) -> None:
        self.clock = ManualClock()
        self.runner = runner(self.clock)
        self.recorder = Recorder()
        self.status = Pipe(
            leases=FreeLeases([Card(gpu) for gpu in gpus]),
            source=ListSource([command.encode() for command in commands]),
            runner=self.runner,
            wait=FakeWait(self.clock, self.runner, signals),
            clock=self.clock,
            listeners=[self.recorder],
            template=Job(0, b"", **asks),
            policy=policy or PipePolicy(),
            halt=parse_halt(halt),
            done=done or DoneJobs(),
        ).run()

    @property
    def started(self) -> list[int]:
        return [job.seq for job, _, _ in self.runner.started]

    @property
    def ends(self) -> list[Ended]:
        return [event for event in self.recorder.events if isinstance(event, Ended)]

    @property
    def notices(self) -> str:
        return "\n".join(e.text for e in self.recorder.events if isinstance(e, Notice))

    def finished(self) -> Finished:
        last = self.recorder.events[-1]
        assert isinstance(last, Finished)
        return last


job_lines = st.lists(
    st.builds(
        lambda seconds, code, gpus, per_gpu: (
            f"sleep {seconds}; exit {code} # sgs: gpus={gpus} jobs-per-gpu={per_gpu}"
        ),
        st.sampled_from([0, 0, 0.5, 1, 2, 7]),
        st.sampled_from([0, 0, 0, 1, 9]),
        st.sampled_from([1, 1, 1, 2, 3, 9]),
        st.sampled_from([1, 1, 2, 3, 64]),
    )
    | st.sampled_from(["", "  ", "true # sgs: gpus=x"]),
    max_size=30,
)


@given(job_lines, st.integers(1, 4))
def test_each_command_runs_exactly_once_and_no_gpu_is_double_used(
    commands: list[str], gpus: int
) -> None:
    world = World(commands, gpus=[str(n) for n in range(gpus)])
    rejected = [e.seq for e in world.recorder.events if isinstance(e, Rejected)]
    blank = [n for n, command in enumerate(commands, 1) if not command.strip()]
    assert sorted(world.started + rejected + blank) == list(range(1, len(commands) + 1))
    assert world.started == sorted(world.started), "strict order"
    assert_never_beyond_capacity(world)
    failed = sum(not end.ok for end in world.ends) + len(rejected)
    assert world.status == (1 if failed else 0)
    assert world.finished().counts.failed == failed


def assert_never_beyond_capacity(world: World) -> None:
    used: Counter[str] = Counter()
    for event in world.recorder.events:
        one = event.running if isinstance(event, Ended) else event
        if isinstance(one, Running):
            units = one.job.units * (1 if one is event else -1)
            for gpu in one.gpus:
                used[gpu] += units
                assert 0 <= used[gpu] <= GPU_UNITS
    assert set(used.values()) <= {0}


@given(job_lines, st.sets(st.integers(1, 30)), st.booleans())
def test_resume_runs_exactly_what_is_missing(
    commands: list[str], logged: set[int], rerun_failed: bool
) -> None:
    done = DoneJobs(rerun_failed=rerun_failed)
    for seq in logged:
        done.add(seq, b"", ok=seq % 2 == 0)
    world = World(commands, done=done, gpus=["0", "1", "2"])
    expected = {
        n
        for n, command in enumerate(commands, 1)
        if command.strip() and (n not in logged or (rerun_failed and n % 2 == 1))
    }
    rejected = {e.seq for e in world.recorder.events if isinstance(e, Rejected)}
    assert set(world.started) | rejected == expected


@given(
    job_lines,
    st.lists(
        st.tuples(
            st.floats(0, 20),
            st.sampled_from([signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGWINCH]),
        ),
        max_size=4,
    ),
)
def test_signals_at_any_time_leave_nothing_running(
    commands: list[str], signals: list[tuple[float, int]]
) -> None:
    world = World(commands, signals=[*signals], gpus=["0", "1", "2"])
    assert len(world.ends) == len(world.started)
    assert len(set(world.started)) == len(world.started)
    assert_never_beyond_capacity(world)


def test_a_job_of_two_gpus_is_not_starved_by_single_ones() -> None:
    stream = ["sleep 3", "sleep 5", "sleep 1 # sgs: gpus=2", *["sleep 2"] * 20]
    world = World(stream)
    start_s = {job.seq: at_s for job, _, at_s in world.runner.started}
    assert start_s[3] == 5


def test_a_gpu_takes_the_next_command_the_moment_its_job_ends() -> None:
    world = World(["sleep 3", "sleep 1", "sleep 1", "sleep 1"])
    assert [(job.seq, gpus, at_s) for job, gpus, at_s in world.runner.started] == [
        (1, ("0",), 0.0),
        (2, ("1",), 0.0),
        (3, ("1",), 1.0),
        (4, ("1",), 2.0),
    ]


def test_retries_count_all_attempts() -> None:
    world = World(["exit 1", "exit 0"], tries=3)
    assert world.started == [1, 2, 1, 1]
    assert [end.retry for end in world.ends] == [True, False, True, False]
    assert world.status == 1
    assert world.finished().counts.failed == 1


def test_a_timeout_is_a_failure_even_if_the_job_then_says_0() -> None:
    world = World(["trap '' TERM; sleep 15"], timeout_s=10, policy=PipePolicy(grace_s=100))
    assert world.status == 1
    assert world.ends[0].running.timed_out
    assert "timed out after 10 s" in world.notices


def test_a_job_that_ignores_term_is_killed_after_the_grace() -> None:
    world = World(["trap '' TERM; sleep 99"], timeout_s=10, policy=PipePolicy(grace_s=2))
    assert world.clock.now_s() == 12
    assert world.ends[0].exit.signal == signal.SIGKILL


def test_the_first_interrupt_lets_running_jobs_finish() -> None:
    world = World(["sleep 5", "sleep 5", "sleep 5"], signals=[(1, signal.SIGINT)])
    assert world.status == 130
    assert world.started == [1, 2]
    assert all(end.ok for end in world.ends)
    assert "waiting for 2 jobs" in world.notices
    assert world.finished().counts.unstarted == 1


def test_the_second_interrupt_ends_them_and_they_count_as_not_run() -> None:
    world = World(["sleep 50", "sleep 50"], signals=[(1, signal.SIGINT), (2, signal.SIGINT)])
    assert world.status == 130
    assert world.clock.now_s() == 2
    assert all(end.aborted for end in world.ends)
    assert world.finished().counts.failed == 0


def test_sigterm_then_kill_after_the_grace() -> None:
    world = World(
        ["trap '' TERM; sleep 50", "sleep 50"],
        signals=[(1, signal.SIGTERM)],
        policy=PipePolicy(grace_s=3),
    )
    assert world.status == 143
    assert world.clock.now_s() == 4


def test_a_third_signal_kills_at_once() -> None:
    world = World(
        ["trap '' TERM; sleep 50"],
        signals=[(1, signal.SIGINT), (2, signal.SIGINT), (3, signal.SIGINT)],
    )
    assert world.clock.now_s() == 3


def test_halt_soon_lets_the_others_finish_and_now_ends_them() -> None:
    soon = World(["sleep 1; exit 1", "sleep 9", "sleep 1"], halt="soon,fail=1")
    assert (soon.status, soon.started, soon.clock.now_s()) == (1, [1, 2], 9)
    now = World(["sleep 1; exit 1", "sleep 9", "sleep 1"], halt="now,fail=1")
    assert (now.status, now.started, now.clock.now_s()) == (1, [1, 2], 1)
    assert now.finished().counts.aborted == 1


def test_halt_at_success_is_success() -> None:
    world = World(["exit 1", "sleep 1", "sleep 9", "sleep 9"], halt="now,success=1")
    assert world.status == 0
    assert world.clock.now_s() == 1


def test_a_skipped_line_that_was_changed_is_told_once() -> None:
    done = DoneJobs()
    for seq in (1, 2):
        done.add(seq, b"other", ok=True)
    world = World(["true", "true"], done=done)
    assert world.notices.count("was the input changed?") == 1
    assert [e for e in world.recorder.events if isinstance(e, Skipped)] == [
        Skipped(1, changed=True),
        Skipped(2, changed=True),
    ]


class Crowded(FakeRunner):
    """A system that has room for one process only."""

    def start(self, job: Job, gpus: tuple[str, ...], lease: Lease | None = None) -> int:
        if self.next_end_s() is not None:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return super().start(job, gpus, lease)


def test_where_the_system_has_no_room_jobs_wait_for_it() -> None:
    world = World(["sleep 1", "sleep 1", "sleep 1"], runner=Crowded)
    assert world.status == 0
    assert world.started == [1, 2, 3]
    assert world.clock.now_s() == 3


class Broken(FakeRunner):
    """A system that can't start a thing."""

    def start(self, job: Job, gpus: tuple[str, ...], lease: Lease | None = None) -> int:
        raise OSError(7, "Argument list too long")


class Barred(FakeRunner):
    """There is no place for what the odd jobs print."""

    def start(self, job: Job, gpus: tuple[str, ...], lease: Lease | None = None) -> int:
        if job.seq % 2:
            raise HopelessError("can't be recorded")
        return super().start(job, gpus, lease)


@pytest.mark.parametrize("gpus", [("0",), ("0", "1")])
def test_jobs_that_cannot_be_started_fail_and_the_rest_is_tried(gpus: tuple[str, ...]) -> None:
    world = World(["true"] * 5, runner=Broken, gpus=gpus)
    assert world.status == 1
    rejected = [e for e in world.recorder.events if isinstance(e, Rejected)]
    assert [e.reason for e in rejected] == ["can't be started: Argument list too long"] * 5


@pytest.mark.parametrize("gpus", [("0",), ("0", "1")])
def test_a_job_that_cannot_be_recorded_ends_no_other(gpus: tuple[str, ...]) -> None:
    world = World(["true"] * 6, runner=Barred, gpus=gpus)
    assert (world.status, sorted(world.started)) == (1, [2, 4, 6])
    rejected = [e for e in world.recorder.events if isinstance(e, Rejected)]
    assert [(e.seq, e.reason) for e in rejected] == [(n, "can't be recorded") for n in (1, 3, 5)]


class Slow(FakeRunner):
    """A machine on which a process takes half a second to start."""

    def start(self, job: Job, gpus: tuple[str, ...], lease: Lease | None = None) -> int:
        self._clock.advance_to(self._clock.now_s() + 0.5)
        return super().start(job, gpus, lease)


def test_a_job_starts_when_its_process_is_asked_for() -> None:
    world = World(["sleep 1"], runner=Slow)
    (ended,) = (event for event in world.recorder.events if isinstance(event, Ended))
    assert (ended.running.started_s, ended.runtime_s) == (0.0, 1.5)
