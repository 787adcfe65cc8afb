"""Each step of writing results, with somebody else who acts right after it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from simple_gpu_scheduler.errors import HopelessError, SgsError, UsageError
from simple_gpu_scheduler.files.folders import open_folder
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.pipe.events import Ended, Rejected
from simple_gpu_scheduler.policy.model import Running
from simple_gpu_scheduler.processes.records import Exit
from simple_gpu_scheduler.results import writer
from simple_gpu_scheduler.results.writer import ResultsDir
from simple_gpu_scheduler.results.writer_lock import Mark, writers

JOB = Job(1, b"true")
ENDED = Ended(Running(JOB, ("0",), 7, 1.0, 2.0), Exit(7, 0, None), 2.5, True)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[ResultsDir]:
    written = ResultsDir(str(tmp_path / "runs"))
    yield written
    written.on_event(Rejected(1, b"true", "", 0.0))
    written.close()


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    (tmp_path / "victim").mkdir()
    return tmp_path / "victim"


def after(
    monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], None], *, times: int = 1
) -> None:
    """Somebody acts after these calls of the system."""
    call, left = getattr(os, name), [times]

    def and_then(*args: object, **more: object) -> object:
        done = call(*args, **more)
        if left[0]:
            left[0] -= 1
            act()
        return done

    monkeypatch.setattr(writer.os, name, and_then)


def start(runs: ResultsDir) -> None:
    for fd in runs.open(JOB):
        os.close(fd)


def test_a_link_in_place_of_a_folder_just_made(
    runs: ResultsDir, tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swap() -> None:
        (tmp_path / "runs/1").rename(tmp_path / "runs/away")
        (tmp_path / "runs/1").symlink_to(victim)

    after(monkeypatch, "mkdir", swap)
    with pytest.raises(HopelessError, match=r"1 is a link that .* made; expected a folder of"):
        runs.open(JOB)
    assert list(victim.iterdir()) == []


def test_a_folder_that_is_taken_away_at_once(
    runs: ResultsDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after(monkeypatch, "mkdir", (tmp_path / "runs/1").rmdir)
    with pytest.raises(HopelessError, match="can't be used: No such file or directory"):
        runs.open(JOB)


@pytest.mark.parametrize("times", [1, 3])
def test_files_that_are_there_before_the_jobs_own_are_moved_aside(
    runs: ResultsDir, tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    after(monkeypatch, "mkdir", lambda: (tmp_path / "runs/1/stdout").symlink_to(victim))
    start(runs)
    assert (tmp_path / "runs/1/attempt-1/stdout").is_symlink()
    assert not (tmp_path / "runs/1/stdout").is_symlink()
    assert list(victim.iterdir()) == []


def test_files_that_are_there_again_and_again(
    runs: ResultsDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put() -> None:
        path = tmp_path / "runs/1/stderr"
        if not path.exists():
            path.touch()

    after(monkeypatch, "mkdir", put)
    after(monkeypatch, "rename", put, times=1000)
    with pytest.raises(HopelessError, match="gets files of others again and again"):
        runs.open(JOB)


def test_a_link_in_place_of_an_attempts_folder(
    runs: ResultsDir, tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(runs)
    attempt = tmp_path / "runs/1/attempt-1"

    def swap() -> None:
        if attempt.exists():
            attempt.rmdir()
            attempt.symlink_to(victim)

    after(monkeypatch, "mkdir", swap, times=2)
    with pytest.raises(HopelessError, match="attempt-1 is a link that"):
        runs.open(JOB)
    assert list(victim.iterdir()) == []


def test_the_record_stays_with_its_job_whatever_the_folder_is_called(
    runs: ResultsDir, tmp_path: Path, victim: Path
) -> None:
    start(runs)
    (tmp_path / "runs/1").rename(tmp_path / "runs/renamed")
    (tmp_path / "runs/1").symlink_to(victim)
    runs.on_event(ENDED)
    assert (tmp_path / "runs/renamed/result.json").exists()
    assert list(victim.iterdir()) == []


def test_a_full_disk_ends_the_list(runs: ResultsDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer.os, "mkdir", full)
    with pytest.raises(SgsError, match="No space left on device") as raised:
        runs.open(JOB)
    assert not isinstance(raised.value, HopelessError)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    runs = ResultsDir(str(tmp_path / "runs"))
    for seq in range(1, 20):
        for fd in runs.open(JOB._replace(seq=seq)):
            os.close(fd)
        job = Running(JOB._replace(seq=seq), ("0",), 7, 1.0, 2.0)
        runs.on_event(ENDED._replace(running=job) if seq % 2 else Rejected(seq, b"", "", 0.0))
    (tmp_path / "runs/20").touch()
    with pytest.raises(HopelessError):
        runs.open(JOB._replace(seq=20))
    runs.close()
    assert os.listdir("/proc/self/fd") == before


def test_a_second_name_of_our_mark_is_no_second_scheduler(tmp_path: Path) -> None:
    with open_folder(str(tmp_path)) as folder:
        mark = Mark(folder)
        os.link(tmp_path / mark.name, tmp_path / ".scheduler-twin")
        assert mark.others() == set()
        assert writers(folder).living == {os.geteuid()}
        mark.close()


def test_marks_of_schedulers_that_were_killed_go_and_those_of_living_ones_stay(
    tmp_path: Path,
) -> None:
    with open_folder(str(tmp_path)) as folder:
        first, second = Mark(folder), Mark(folder)
        (tmp_path / ".scheduler-dead").write_text(f"{tmp_path.stat().st_ino}\n")
        (tmp_path / ".scheduler-young.new").touch()
        assert first.others() == {os.geteuid()}
        first.close()
        assert second.others() == set()
        assert sorted(os.listdir(tmp_path)) == sorted([second.name, ".scheduler-young.new"])
        second.close()
        assert writers(folder).living == set()


def test_a_directory_in_use_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ResultsDir(str(tmp_path / "runs"))
    before = os.listdir("/proc/self/fd"), os.listdir(tmp_path / "runs")
    for taken_by_others in (False, True):
        if taken_by_others:
            monkeypatch.setattr(writer, "find_lock_owners", lambda fd: {61002})
        with pytest.raises(UsageError, match="in use by another scheduler"):
            ResultsDir(str(tmp_path / "runs"))
        assert (os.listdir("/proc/self/fd"), os.listdir(tmp_path / "runs")) == before
    first.close()
