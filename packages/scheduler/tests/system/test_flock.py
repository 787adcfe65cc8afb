"""Locks on what is written, and who may look."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from simple_gpu_scheduler.system import flock, lock_holders
from simple_gpu_scheduler.system.flock import is_on_this_machine, try_lock
from simple_gpu_scheduler.system.lock_holders import find_lock_owners


@pytest.fixture
def fds(tmp_path: Path) -> Iterator[list[int]]:
    """Two openings of one directory."""
    opened = [os.open(tmp_path, os.O_RDONLY) for _ in range(2)]
    yield opened
    for fd in opened:
        os.close(fd)


def test_only_one_has_the_lock_and_it_goes_with_the_descriptor(tmp_path: Path) -> None:
    first, second = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    assert try_lock(first)
    assert not try_lock(second)
    assert find_lock_owners(second) == {os.geteuid()}
    os.close(first)
    assert find_lock_owners(second) == set()
    assert try_lock(second)
    os.close(second)


def test_one_that_only_looks_is_waited_for(
    fds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl.flock(fds[0], fcntl.LOCK_SH)
    monkeypatch.setattr(flock.time, "sleep", lambda _: fcntl.flock(fds[0], fcntl.LOCK_UN))
    assert try_lock(fds[1])


def test_a_lock_on_another_file_system_is_another_one(
    fds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the inode has the same number: others can choose theirs."""
    assert try_lock(fds[0])
    device = lock_holders._read_device(fds[0])
    assert find_lock_owners(fds[1]) == {os.geteuid()}
    monkeypatch.setattr(lock_holders, "_read_device", lambda fd: b"00:" + device)
    assert find_lock_owners(fds[1]) == set()
    monkeypatch.setattr(lock_holders, "_read_device", lambda fd: b"")  # unknown
    assert find_lock_owners(fds[1]) == {os.geteuid()}


@pytest.mark.parametrize(("kind", "ours"), [(b"ext4", True), (b"nfs4", False), (b"", False)])
def test_file_systems_of_the_network_may_have_locks_that_we_do_not_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: bytes, ours: bool
) -> None:
    monkeypatch.setattr(flock, "_file_system", lambda path: kind)
    assert is_on_this_machine(str(tmp_path)) is ours


def test_the_file_system_of_a_path(tmp_path: Path) -> None:
    assert flock._file_system("/proc/self/fd") == b"proc"
    assert flock._file_system(str(tmp_path)) not in (b"", b"proc")
