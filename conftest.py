"""Every test has leases and a queue of its own: tests must not wait for each other's."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from simple_gpu_scheduler.queue import server_lock

# No test is about time: machines are slow where others work, too.
for _profile, _examples in (("quick", 20), ("thorough", 100)):
    settings.register_profile(
        _profile,
        max_examples=_examples,
        deadline=None,
        suppress_health_check=(HealthCheck.too_slow,),
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

# Tests start the commands thousands of times: compiled once is enough.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Under nohup(1), or in the background of a script, these are ignored; all that the tests start
# would inherit that.
for _number, _default in (
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _default)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where, and in which numbers, the methods' tests compute."""
    parser.addoption("--device", default="cpu", help="of the methods' tests (default: cpu)")
    parser.addoption("--dtype", default="float64", help="of the methods' tests (default: float64)")


@pytest.fixture(autouse=True)
def own_lease_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of this test's leases."""
    folder = tmp_path / "leases"
    monkeypatch.setenv("SGS_LEASE_DIR", str(folder))
    return folder


@pytest.fixture(autouse=True)
def own_state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of this test's state, its queue above all, whose server ends with the test."""
    folder = tmp_path / "state"
    monkeypatch.setenv("SGS_STATE_DIR", str(folder))
    yield folder
    for lock in folder.rglob(server_lock.NAME):
        about = server_lock.server(str(lock.parent))
        if about is not None:
            with suppress(ProcessLookupError):
                os.kill(about["pid"], signal.SIGTERM)
