"""Who is the server, when several begin at the same time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from simple_gpu_scheduler.queue import server_lock

Meanwhile = Callable[[Callable[[], None]], None]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Has something happen while the lock is waited for."""
    return lambda does: monkeypatch.setattr(time, "sleep", lambda _: does())


@pytest.fixture
def folder(tmp_path: Path) -> str:
    path = tmp_path / "the queue's é"
    path.mkdir()
    return str(path)


def test_one_that_begins_and_fails_is_replaced(folder: str, meanwhile: Meanwhile) -> None:
    first = server_lock.become_server(folder)
    assert first is not None
    assert server_lock.is_beginning(folder)
    meanwhile(lambda: os.close(first))
    second = server_lock.become_server(folder)
    assert second is not None
    os.close(second)


def test_one_that_begins_and_serves_is_left_to_it(folder: str, meanwhile: Meanwhile) -> None:
    first = server_lock.become_server(folder)
    assert first is not None
    meanwhile(lambda: server_lock.write_owner(first))
    assert server_lock.become_server(folder) is None
    assert server_lock.server(folder) is not None
    os.close(first)


def test_one_that_serves_is_not_waited_for(folder: str, meanwhile: Meanwhile) -> None:
    first = server_lock.become_server(folder)
    assert first is not None
    server_lock.write_owner(first)
    meanwhile(lambda: pytest.fail("it waits"))
    assert server_lock.become_server(folder) is None
    os.close(first)
