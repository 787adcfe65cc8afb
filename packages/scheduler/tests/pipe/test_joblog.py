from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.pipe.events import Ended
from simple_gpu_scheduler.pipe.joblog import DoneJobs, Joblog, joblog_row, read_joblog
from simple_gpu_scheduler.policy.model import Running
from simple_gpu_scheduler.processes.records import Exit

HEADER = b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"


def ended(
    seq: int = 1,
    command: bytes = b"true",
    code: int | None = 0,
    signal: int | None = None,
    **more: bool,
) -> Ended:
    timed_out = more.pop("timed_out", False)
    one = Running(Job(seq, command), ("0",), 7, 1.0, 1700000000.125, timed_out=timed_out)
    return Ended(one, Exit(7, code, signal), 2.5, code == 0, **more)


def test_a_row_is_gnu_parallels() -> None:
    assert joblog_row(ended()) == b"1\t:\t1700000000.125\t     2.500\t0\t0\t0\t0\ttrue\n"
    killed = joblog_row(ended(2, b"a\nb\tc \xff", None, 9))
    assert killed.endswith(b"\t0\t9\ta\0b\tc \xff\n")
    assert b"\t-1\t15\t" in joblog_row(ended(3, code=None, signal=15, timed_out=True))


def test_what_ends_is_logged_and_what_will_run_again_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a log"
    log = Joblog(str(path), keep=False)
    log.on_event(ended(1))
    log.on_event(ended(2, code=1, retry=True))
    log.on_event(ended(3, code=None, signal=15, aborted=True))
    log.on_event(ended(2, code=1))
    assert [line.split(b"\t")[0] for line in path.read_bytes().splitlines()] == [
        b"Seq",
        b"1",
        b"2",
    ]


@given(
    st.lists(
        st.tuples(
            st.integers(1, 300),
            st.binary(max_size=20).filter(lambda b: b"\0" not in b),
            st.sampled_from([(0, None), (1, None), (255, None), (None, 9)]),
        ),
        max_size=40,
    )
)
def test_resume_runs_exactly_what_is_missing(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[int, bytes, tuple[int | None, int | None]]],
) -> None:
    path = tmp_path_factory.mktemp("log") / "joblog"
    log = Joblog(str(path), keep=True)
    last: dict[int, tuple[bytes, bool]] = {}
    for seq, command, (code, signal) in rows:
        log.on_event(ended(seq, command, code, signal))
        last[seq] = (command, code == 0)
    done = read_joblog(str(path), rerun_failed=False)
    succeeded = read_joblog(str(path), rerun_failed=True)
    assert [seq for seq in range(400) if seq in done] == sorted(last)
    assert [seq for seq in range(400) if seq in succeeded] == sorted(
        seq for seq, (_, ok) in last.items() if ok
    )
    assert all(done.is_same(seq, command) for seq, (command, _) in last.items())
    assert not any(done.is_same(seq, command + b"x") for seq, (command, _) in last.items())


def test_no_log_yet_means_nothing_is_done(tmp_path: Path) -> None:
    assert 1 not in read_joblog(str(tmp_path / "none"), rerun_failed=False)
    assert 10**30 not in DoneJobs()


def test_a_torn_last_line_counts_as_missing_and_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "joblog"
    path.write_bytes(HEADER + joblog_row(ended(1)) + b"2\t:\t1700000000.125\t   2.5\t0\t0\t0")
    done = read_joblog(str(path), rerun_failed=False)
    assert 1 in done
    assert 2 not in done
    Joblog(str(path), keep=True).on_event(ended(3))
    assert 3 in read_joblog(str(path), rerun_failed=False)


def test_a_log_of_gnu_parallel_is_understood(tmp_path: Path) -> None:
    """Rows as GNU parallel 20221122 wrote them."""
    path = tmp_path / "joblog"
    path.write_bytes(
        HEADER
        + b"1\t:\t1795401154.004\t     0.000\t0\t2\t0\t0\techo a\n"
        + b"4\t:\t1795401154.015\t     0.002\t0\t0\t1\t0\tfalse\n"
        + b"6\t:\t1795401154.021\t     0.004\t0\t0\t0\t9\tkill -9 $$\n"
        + b"8\t:\t1795401154.680\t     1.447\t0\t0\t-1\t15\tsleep 5\n"
        + b"9\t:\t1795401154.121\t     0.001\t0\t8\t0\t0\techo a\0echo multi\n"
        + b"4\t:\t1795401154.329\t     0.002\t0\t0\t0\t0\ttrue\n"
    )
    everything = read_joblog(str(path), rerun_failed=False)
    succeeded = read_joblog(str(path), rerun_failed=True)
    assert [seq for seq in range(12) if seq in everything] == [1, 4, 6, 8, 9]
    assert [seq for seq in range(12) if seq in succeeded] == [1, 4, 9]
    assert everything.is_same(9, b"echo a\necho multi")
    assert everything.is_same(4, b"true")


@pytest.mark.parametrize(
    "use",
    [partial(read_joblog, rerun_failed=False), partial(Joblog, keep=False)],
    ids=["resume", "start anew"],
)
def test_a_file_that_is_no_log_is_left_alone(tmp_path: Path, use: Callable[[str], object]) -> None:
    path = tmp_path / "commands.txt"
    path.write_text("python train.py\n")
    with pytest.raises(UsageError, match="isn't a job log"):
        use(str(path))
    assert path.read_text() == "python train.py\n"


def test_an_earlier_log_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "joblog"
    log = Joblog(str(path), keep=False)
    log.on_event(ended(1))
    log.close()
    Joblog(str(path), keep=False)
    assert path.read_bytes() == HEADER
    assert (tmp_path / "joblog~").read_bytes() == HEADER + joblog_row(ended(1))


def test_a_full_disk_says_what_is_not_logged() -> None:
    with pytest.raises(UsageError, match="No space left"):
        Joblog("/dev/full", keep=True)


def test_a_row_that_cannot_be_written_is_in_the_message(tmp_path: Path) -> None:
    log = Joblog(str(tmp_path / "joblog"), keep=False)
    log._fd = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(SgsError, match=r"not logged is: 1 : .* echo hi"):
        log.on_event(ended(1, b"echo hi"))


@pytest.mark.parametrize("keep", [True, False])
def test_a_log_in_use_is_neither_opened_nor_set_aside(tmp_path: Path, keep: bool) -> None:
    path = tmp_path / "joblog"
    log = Joblog(str(path), keep=True)
    log.on_event(ended(1))
    with pytest.raises(UsageError, match="in use by another scheduler"):
        Joblog(str(path), keep=keep)
    assert os.listdir(tmp_path) == ["joblog"]
    log.on_event(ended(2))
    log.close()
    Joblog(str(path), keep=keep).close()


def test_a_log_that_was_set_aside_just_now_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the opening and the locking of it."""
    path = tmp_path / "joblog"
    Joblog(str(path), keep=True).close()

    def set_aside(fd: int) -> bool:
        path.rename(tmp_path / "joblog~")
        path.touch()
        return True

    monkeypatch.setattr("simple_gpu_scheduler.pipe.joblog.try_lock", set_aside)
    with pytest.raises(UsageError, match="in use by another scheduler"):
        Joblog(str(path), keep=False)


def test_without_locks_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    monkeypatch.setattr(fcntl, "fcntl", no_locks)
    for _ in range(2):
        Joblog(str(tmp_path / "joblog"), keep=True).on_event(ended(1))
    assert len((tmp_path / "joblog").read_bytes().splitlines()) == 3
