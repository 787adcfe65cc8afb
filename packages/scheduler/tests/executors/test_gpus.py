"""Who has which GPU, while pools, schedulers, interrupts and kills come together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest

import fake_nvml
from simple_gpu_scheduler.client import take
from simple_gpu_scheduler.executor import GPUExecutor
from simple_gpu_scheduler.leases.store import live_leases

from .conftest import Cards, Scripts

BIN = Path(sys.executable).parent


def free(gpus: str, timeout_s: float = 0.0) -> bool:
    """True if all of them can be leased; raises if they can't."""
    take(on=gpus, timeout_s=timeout_s).release()
    return True


def test_no_gpu_has_two_calls_at_once(cards: Cards) -> None:
    with GPUExecutor(on="0,1,2") as pool:
        assert set(pool.map(cards.call(0.01), range(60))) == {"0", "1", "2"}


def meet(path: str) -> str:
    """Two calls that end only if they run at the same time."""
    import os

    try:
        os.mkfifo(path)
    except FileExistsError:
        with open(path) as fifo:
            fifo.read()
    else:
        with open(path, "w"):
            pass
    return os.environ["CUDA_VISIBLE_DEVICES"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"on": "0,1"}, ["0", "1"]),
        ({"on": "0", "jobs_per_gpu": 2}, ["0", "0"]),
        ({"on": "0,1", "jobs_per_gpu": 2}, ["0", "1"]),
        ({"on": "0,1,2", "gpus": 2}, ["0", "1"]),
    ],
)
def test_calls_run_at_the_same_time_and_spread_out_first(
    tmp_path: Path, settings: dict[str, Any], expected: list[str]
) -> None:
    by_value = lambda path: meet_there(path)  # noqa: E731
    meet_there = _local(meet)
    with GPUExecutor(**settings) as pool:
        futures = [pool.submit(by_value, str(tmp_path / "fifo")) for _ in range(2)]
        assert sorted(one.result() for one in futures) == expected


def _local(function: Any) -> Any:
    """The function as the worker needs it, which can't import tests."""
    import types

    return types.FunctionType(function.__code__, {"__builtins__": __builtins__}, "local")


def test_calls_that_share_a_gpu_share_one_lease(own_lease_dir: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    with GPUExecutor(on="0", jobs_per_gpu=2, idle_s=0) as pool:
        one = pool.submit(lambda: (tmp_path / "gate").read_text())
        assert pool.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result() == "0"
        (lease,) = live_leases(str(own_lease_dir))
        assert (lease.pid, lease.gpus, lease.kind) == (os.getpid(), ("0",), "python")
        (tmp_path / "gate").write_text("x")
        assert one.result() == "x"
        assert free("0", 60)


def test_an_idle_pool_gives_its_gpus_to_others() -> None:
    with GPUExecutor(on="0,1", idle_s=0) as pool:
        for _ in range(3):
            assert pool.submit(int, 5).result() == 5
            assert free("0,1", 60)


def test_for_a_while_an_idle_worker_is_kept() -> None:
    with GPUExecutor(on="0") as pool:
        assert len({pool.submit(os.getpid).result() for _ in range(5)}) == 1


def test_it_waits_for_others_and_says_so() -> None:
    told: list[str] = []
    waiting = threading.Event()
    others = take(on="0")
    with GPUExecutor(on="0", tell=lambda text: (told.append(text), waiting.set())) as pool:  # type: ignore[func-returns-value,arg-type,return-value]
        future = pool.submit(int, 5)
        assert waiting.wait(60)
        assert not future.running()
        assert "GPU 0 is leased by" in told[0]
        others.release()
        assert future.result() == 5


def test_no_call_waits_for_one_gpu_while_another_is_free(cards: Cards) -> None:
    others = take(on="0")
    try:
        with GPUExecutor(on="0,1") as pool:
            assert set(pool.map(cards.call(0), range(20))) == {"1"}
        assert free("1"), "and the end of the pool doesn't wait for the others either"
    finally:
        others.release()
    assert free("0", 60)


@pytest.mark.parametrize("jobs_per_gpu", [1, 2])
def test_a_pool_with_much_work_gives_way_to_those_who_wait(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, jobs_per_gpu: int
) -> None:
    monkeypatch.setattr("simple_gpu_scheduler.executors.shared_gpu._TURN_S", 0.0)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with GPUExecutor(on="0", jobs_per_gpu=jobs_per_gpu) as pool:
        gate_call = pool.submit(lambda: gate.read_text())
        calls = [pool.submit(time.sleep, 0.02) for _ in range(1500 * jobs_per_gpu)]
        lease = ["sgs", "lease", "--on", "0", "--", "echo", "served"]
        other = subprocess.Popen([BIN / lease[0], *lease[1:]], stdout=subprocess.PIPE, text=True)
        gate.write_text("go")
        assert other.communicate(timeout=60)[0] == "served\n"
        assert not calls[-1].done(), "it was served between two calls"
        assert gate_call.result() == "go"
        pool.shutdown(wait=False, cancel_futures=True)


def test_cancelled_calls_need_no_gpu() -> None:
    others = take(on="0")
    pool = GPUExecutor(on="0")
    future = pool.submit(int)
    pool.shutdown(cancel_futures=True)
    assert future.cancelled()
    others.release()
    assert free("0", 60)


def test_pools_and_a_scheduler_compete_without_double_use(
    cards: Cards, scripts: Scripts, tmp_path: Path
) -> None:
    (tmp_path / "cards" / "log").touch()
    text = (
        "folder = sys.argv[0] and 'cards'\n"
        "def occupy(n):\n"
        "    with open(f\"{folder}/{os.environ['CUDA_VISIBLE_DEVICES']}\", 'w') as card:\n"
        "        fcntl.flock(card, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "        time.sleep(0.01)\n"
        "with GPUExecutor(on='0,1,2', idle_s=0) as pool:\n"
        "    for _ in range(5):\n"
        "        print(len(list(pool.map(occupy, range(12)))))\n"
    )
    programs = [scripts.start(text) for _ in range(2)]
    scheduler = subprocess.run(
        [BIN / "simple_gpu_scheduler", "--gpus", "0,1,2", "--quiet"],
        input="flock -n cards/$CUDA_VISIBLE_DEVICES sleep 0.01\n" * 40,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert scheduler.returncode == 0, scheduler.stderr
    with GPUExecutor(on="2,1,0") as pool:
        assert len(list(pool.map(cards.call(0.01), range(20)))) == 20
    for program in programs:
        out, err = program.communicate(timeout=120)
        assert (program.returncode, out, err) == (0, "12\n" * 5, "")
    assert free("0,1,2")


def all_up(program: subprocess.Popen[str], gpus: str) -> None:
    assert program.stdout is not None
    lines = [program.stdout.readline().strip() for _ in gpus.split(",")]
    assert sorted(lines) == [f"up {gpu}" for gpu in gpus.split(",")]


BLOCKED = """\
pool = GPUExecutor(on='0,1')
futures = [pool.submit(block, str(n)) for n in range(3)]
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_program_leaves_neither_workers_nor_leases(
    scripts: Scripts, tmp_path: Path, number: signal.Signals
) -> None:
    program = scripts.start(BLOCKED + "signal.pause()\n")
    all_up(program, "0,1")
    program.send_signal(number)
    assert program.wait(60) == -number
    for name in ("0", "1"):  # the kernel gives us the locks once the workers are gone
        subprocess.run(["flock", tmp_path / name, "true"], check=True, timeout=60)
    assert free("0,1", 60)
    assert not (tmp_path / "2").exists()


@pytest.mark.parametrize(
    "text",
    [
        "with GPUExecutor(on='0,1') as pool:\n    list(pool.map(block, '01'))\n",
        "with GPUExecutor(on='0,1') as pool:\n    for n in '01': pool.submit(block, n)\n",
        BLOCKED + "pool.shutdown()\n",
        BLOCKED + "futures[0].result()\n",
    ],
)
def test_an_interrupted_program_ends_at_once_and_leaves_nothing(
    scripts: Scripts, tmp_path: Path, text: str
) -> None:
    program = scripts.start(text)
    all_up(program, "0,1")
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does
    _, err = program.communicate(timeout=60)
    assert program.returncode == -signal.SIGINT
    assert err.count("Traceback") == 1, err
    assert err.endswith("KeyboardInterrupt\n")
    for name in ("0", "1"):
        subprocess.run(["flock", "-n", tmp_path / name, "true"], check=True)
    assert free("0,1")


def test_a_program_that_ends_waits_for_its_calls(scripts: Scripts) -> None:
    out = scripts.run(
        "class Thing:\n    pass\n"
        "def late(n):\n    time.sleep(0.1); print(n); return Thing()\n"
        "pool = GPUExecutor(on='0')\n"
        "future = pool.submit(late, 'first')\n"
        "pool.submit(lambda: os._exit(1))\n"
        "pool.submit(late, 'second')\n"
        "print(type(future.result()) is Thing)\n"
    )
    assert out == "first\nTrue\nsecond\n"
    assert free("0")


def test_a_forked_child_of_the_program_does_not_wait_for_the_pool(scripts: Scripts) -> None:
    out = scripts.run(
        "pool = GPUExecutor(on='0')\n"
        "print(pool.submit(int, 5).result(), flush=True)\n"
        "if os.fork() == 0:\n"
        "    try: pool.submit(int)\n"
        "    except RuntimeError as error: print(error)\n"
        "    sys.exit()\n"
        "print(os.wait()[1])\n"
    )
    assert out == (
        "5\nthis GPUExecutor belongs to the parent process; make another one\n0\n"
    )  # fmt: skip


@pytest.mark.parametrize(("settings", "expected"), [("", "5 6"), ("gpus=1", "5"), ("on='6'", "6")])
def test_within_a_lease_its_gpus_are_used(scripts: Scripts, settings: str, expected: str) -> None:
    text = (
        f"with GPUExecutor({settings}) as pool:\n"
        "    get = lambda n: (time.sleep(0.05), os.environ['CUDA_VISIBLE_DEVICES'])[1]\n"
        "    print(*sorted(set(pool.map(get, range(20)))))\n"
    )
    out = scripts.run(text, str(BIN / "sgs"), "lease", "--on", "5,6", "--")
    assert out == f"{expected}\n"


def test_within_a_lease_there_are_no_more_than_its_gpus(scripts: Scripts) -> None:
    text = "try: GPUExecutor(3)\nexcept Exception as error: print(error)\n"
    out = scripts.run(text, str(BIN / "sgs"), "lease", "--on", "5,6", "--")
    assert out == "gpus=3: there are 2 in the lease that we are in\n"


def test_a_pool_within_a_call_uses_the_gpu_of_that_call() -> None:
    def nested() -> list[str | None]:
        import os as os_there

        from simple_gpu_scheduler.executor import GPUExecutor as Inner

        with Inner() as inner:
            return list(inner.map(os_there.getenv, ["CUDA_VISIBLE_DEVICES"] * 3))

    with GPUExecutor(on="0,1") as pool:
        futures = [pool.submit(nested) for _ in range(4)]
        wait(futures)
        assert {tuple(one.result()) for one in futures} <= {("0",) * 3, ("1",) * 3}


@pytest.fixture
def three_cards(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a machine whose driver knows three free cards of 80 GB."""
    library: Path = fake_nvml.compiled(tmp_path_factory.mktemp("nvml"))
    state = fake_nvml.Machine(library, tmp_path)
    state.write(*(f"card GPU-{n}\nmemory 80000 500\nutilisation 0\n" for n in range(3)))
    keep = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    driver = {"LD_LIBRARY_PATH": str(library), "FAKE_NVML_STATE": str(state.path)}
    return {**keep, **driver}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("", "0 2"),
        ("gpus=1", "0"),
        ("gpus=2", "0 2"),
        ("gpus=3", "0 2"),
        ("vram='30G'", "0 2"),
        ("gpus=2, vram='30G'", "0"),
        ("gpus=4, vram='30G'", "0 2"),
        ("gpus=2, vram='30G', jobs_per_gpu=2", "0 2"),
    ],
)
def test_of_the_machine_s_gpus_those_that_are_free_are_used(
    scripts: Scripts, three_cards: dict[str, str], settings: str, expected: str
) -> None:
    others = take(on="GPU-1")
    text = (
        f"with GPUExecutor({settings}) as pool:\n"
        "    get = lambda n: (time.sleep(0.05), os.environ['CUDA_VISIBLE_DEVICES'])[1]\n"
        "    print(*sorted(set(pool.map(get, range(20)))))\n"
    )
    try:
        assert scripts.run(text, env=three_cards) == f"{expected}\n"
    finally:
        others.release()


def test_how_many_parts_are_free_is_counted_without_taking_them(
    scripts: Scripts, three_cards: dict[str, str]
) -> None:
    """Others would find all GPUs taken meanwhile; and there may be hundreds of parts."""
    take(on="GPU-1").release()  # there is a directory
    text = (
        "seen = os.stat(os.environ['SGS_LEASE_DIR']).st_mtime_ns\n"
        "pool = GPUExecutor(vram='2G')\n"
        "print(len(pool._pool._gpus), os.stat(os.environ['SGS_LEASE_DIR']).st_mtime_ns == seen)\n"
    )
    assert scripts.run(text, env=three_cards) == "114 True\n"


def test_there_are_no_more_gpus_than_the_machine_has(
    scripts: Scripts, three_cards: dict[str, str]
) -> None:
    text = "try: GPUExecutor(4)\nexcept Exception as error: print(error)\n"
    assert scripts.run(text, env=three_cards) == "gpus=4: there are 3\n"
