"""Calls and their futures, in real worker processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from simple_gpu_scheduler.client import take
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.executor import GPUExecutor, WorkerDiedError

from .conftest import Scripts


def leases() -> list[str]:
    folder = os.environ["SGS_LEASE_DIR"]
    return [name for name in os.listdir(folder) if name.endswith(".lease")]


def test_calls_return_in_the_order_of_map() -> None:
    with GPUExecutor(on="0,1") as pool:
        assert list(pool.map(lambda x, y: (x, y), range(20), "abcdefghijklmnopqrst")) == list(
            zip(range(20), "abcdefghijklmnopqrst", strict=True)
        )
        assert pool.submit(divmod, 7, 3).result() == (2, 1)
        assert pool.submit(dict, one=1).result() == {"one": 1}
    assert leases() == []


def test_a_thousand_small_calls() -> None:
    with GPUExecutor(on="0,1", jobs_per_gpu=2) as pool:
        assert list(pool.map(lambda x: x * x, range(1000))) == [x * x for x in range(1000)]


@pytest.mark.parametrize("text", ["", "é ü 漢字 🦊", "a\nb\r\n\0c", "\udc80", "' \" $HOME `x` \\"])
def test_any_text_comes_back(text: str) -> None:
    with GPUExecutor(on="0") as pool:
        assert pool.submit(lambda x: (x, x.upper()), text).result() == (text, text.upper())


def test_much_data_comes_back() -> None:
    data = os.urandom(1 << 20) * 40
    with GPUExecutor(on="0") as pool:
        assert pool.submit(lambda x: x[::-1], data).result() == data[::-1]


def test_a_call_sees_its_gpu_from_its_first_import_on() -> None:
    names = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "SGS_LEASE")
    with GPUExecutor(on="GPU-é") as pool:
        data = pool.submit(lambda: Path("/proc/self/environ").read_bytes()).result()
        seen = dict(one.split("=", 1) for one in data.decode().split("\0") if "=" in one)
        assert [seen[name] for name in names[:2]] == ["GPU-é", "PCI_BUS_ID"]
        assert leases() == [f"{seen['SGS_LEASE'].partition(':')[0]}.lease"]
        assert "XLA_PYTHON_CLIENT_PREALLOCATE" not in seen
    with GPUExecutor(on="0", jobs_per_gpu=2) as pool:
        assert pool.submit(os.getenv, "XLA_PYTHON_CLIENT_PREALLOCATE").result() == "false"


def test_stdin_is_empty_and_modules_of_the_program_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_module.py").write_text("def f(x): return x + 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    import my_own_module

    with GPUExecutor(on="0") as pool:
        assert pool.submit(my_own_module.f, 1).result() == 2
        assert pool.submit(lambda: sys.stdin.read()).result() == ""


def test_arguments_are_those_of_the_moment_of_submission() -> None:
    settings = {"lr": 0.0}
    with GPUExecutor(on="0") as pool:
        futures = []
        for lr in (0.1, 0.2, 0.3):
            settings["lr"] = lr
            futures.append(pool.submit(lambda one: one["lr"], settings))
        assert [one.result() for one in futures] == [0.1, 0.2, 0.3]


def test_an_exception_comes_back_with_its_traceback() -> None:
    def deep_inside() -> None:
        raise KeyError("wörd\nnew line")

    with GPUExecutor(on="0") as pool:
        future = pool.submit(lambda: deep_inside())
        with pytest.raises(KeyError, match="wörd") as caught:
            future.result()
        assert "in deep_inside" in "".join(traceback.format_exception(caught.value))
        assert pool.submit(int, "7").result() == 7


def unpicklable_argument() -> Callable[[], Any]:
    lock = threading.Lock()
    return lambda: lock


def unpicklable_result() -> Any:
    return lambda: __import__("threading").Lock()


def unpicklable_exception() -> Any:
    def fail() -> None:
        error = ValueError("holds a lock")
        error.lock = __import__("threading").Lock()  # type: ignore[attr-defined]
        raise error

    return fail


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (unpicklable_argument, TypeError),
        (unpicklable_result, TypeError),
        (unpicklable_exception, RuntimeError),
        (lambda: lambda: sys.exit(3), SystemExit),
        (lambda: lambda: __import__("no_such_module"), ModuleNotFoundError),
    ],
)
def test_what_cannot_be_carried_fails_only_its_own_future(
    make: Callable[[], Callable[[], Any]], kind: type[BaseException]
) -> None:
    with GPUExecutor(on="0") as pool:
        before = pool.submit(os.getpid)
        odd = pool.submit(make())
        after = pool.submit(os.getpid)
        assert isinstance(odd.exception(), kind)
        assert before.result() == after.result(), "the same worker goes on"


def test_an_exception_that_cannot_be_unpickled_says_where_it_came_from(scripts: Scripts) -> None:
    out = scripts.run(
        "class Odd(Exception):\n"
        "    def __init__(self, one, two): super().__init__(one + two)\n"
        "def fail(): raise Odd('a', 'b')\n"
        "with GPUExecutor(on='0') as pool:\n"
        "    error = pool.submit(fail).exception()\n"
        "    print(type(error).__name__, 'Odd: ab' in str(error.__cause__))\n"
        "    print(pool.submit(int, 7).result())\n"
    )
    assert out == "TypeError True\n7\n"


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (lambda: os._exit(3), "ended with exit status 3"),
        (lambda: os._exit(0), "ended with exit status 0"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "was killed by SIGKILL"),
        (lambda: __import__("ctypes").string_at(0), "was killed by SIGSEGV"),
        # It can't answer any more: it is killed, unless it has ended by that itself.
        (lambda: os.closerange(3, 9999), "was killed by SIGKILL|ended with exit status 1"),
    ],
)
def test_a_worker_that_dies_fails_only_its_own_call(end: Callable[[], None], said: str) -> None:
    with GPUExecutor(on="0") as pool:
        before = pool.submit(os.getpid)
        futures = [pool.submit(end), pool.submit(os.getpid), pool.submit(end)]
        error = futures[0].exception()
        assert isinstance(error, WorkerDiedError)
        assert isinstance(error, BrokenProcessPool)
        assert "on GPU 0" in str(error)
        assert re.search(said, str(error))
        assert futures[1].result() != before.result()
        assert isinstance(futures[2].exception(), WorkerDiedError)
    assert leases() == []


def test_a_worker_s_death_is_seen_though_a_grandchild_has_its_socket(tmp_path: Path) -> None:
    lock = tmp_path / "lock"

    def end(path: str) -> None:
        import fcntl
        import time

        ready, up = os.pipe()
        if os.fork() == 0:
            with open(path, "w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                os.write(up, b"x")
                time.sleep(1000)
        os.read(ready, 1)
        os._exit(4)

    with GPUExecutor(on="0") as pool:
        assert isinstance(pool.submit(end, str(lock)).exception(), WorkerDiedError)
        subprocess.run(["flock", lock, "true"], check=True, timeout=60)


def test_a_forked_child_that_returns_does_not_answer() -> None:
    def fork() -> int:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        return child

    with GPUExecutor(on="0") as pool:
        futures = [pool.submit(fork), *(pool.submit(int, n) for n in range(5))]
        assert futures[0].result() != 0
        assert [one.result() for one in futures[1:]] == list(range(5))


def test_what_waits_can_be_cancelled(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with GPUExecutor(on="0") as pool:
        first = pool.submit(lambda: gate.read_text())
        waiting = [pool.submit(int, n) for n in range(5)]
        assert waiting[1].cancel()
        gate.write_text("go")
        assert first.result() == "go"
        assert [one.result() for one in waiting if not one.cancelled()] == [0, 2, 3, 4]
        assert not first.cancel()
        with pytest.raises(CancelledError):
            waiting[1].result()


@pytest.mark.parametrize("cancel", [True, False])
def test_shutdown_lets_calls_end_or_cancels_them(tmp_path: Path, cancel: bool) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    pool = GPUExecutor(on="0")
    first = pool.submit(lambda: gate.read_text())
    waiting = [pool.submit(int, n) for n in range(5)]
    while not first.running():
        time.sleep(0.001)
    pool.shutdown(wait=False, cancel_futures=cancel)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(int)
    gate.write_text("go")
    pool.shutdown()
    assert first.result() == "go"
    assert [one.cancelled() for one in waiting] == [cancel] * 5
    assert leases() == []
    pool.shutdown()


def test_workers_can_be_killed() -> None:
    pool = GPUExecutor(on="0,1")
    stuck = [pool.submit(signal.pause) for _ in range(3)]
    while not (stuck[0].running() and stuck[1].running()):
        time.sleep(0.001)
    pool.kill_workers()
    assert [type(one.exception()) for one in stuck[:2]] == [WorkerDiedError] * 2
    assert stuck[2].cancelled()
    assert leases() == []


def test_a_pool_that_is_forgotten_ends_its_calls_and_gives_its_gpus_back() -> None:
    future = GPUExecutor(on="0").submit(int, 7)
    assert future.result() == 7
    take(on="0", timeout_s=60).release()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"gpus": 0}, "expected a number, 1 or more"),
        ({"gpus": "2"}, "expected a number, 1 or more"),
        ({"gpus": 2, "on": "0"}, "there are 1 to choose from"),
        ({"on": "0", "jobs_per_gpu": 0}, "expected 1 to 64"),
        ({"on": "0", "jobs_per_gpu": 65}, "expected 1 to 64"),
        ({"on": "0,0"}, "names GPU 0 twice"),
        ({"on": ""}, "names no GPU"),
        ({"on": "0", "idle_s": -1}, "idle_s"),
        ({"on": "0", "idle_s": float("nan")}, "idle_s"),
        ({"on": "0", "vram": "10"}, "expected a size with its unit"),
        ({}, "no GPU found"),
    ],
)
def test_what_can_never_be_is_an_error(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        GPUExecutor(**settings)


def test_without_a_driver_memory_cannot_be_asked_for() -> None:
    with GPUExecutor(on="0", vram="1G") as pool:
        futures = [pool.submit(int) for _ in range(3)]
        for future in futures:
            assert "nobody knows how much memory" in str(future.exception())


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(SgsError, match=r"the extra `executor` of simple-gpu-scheduler"):
        GPUExecutor(on="0")


def test_importing_it_does_not_import_what_only_calls_need() -> None:
    code = "import sys, simple_gpu_scheduler.executor; print('cloudpickle' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
