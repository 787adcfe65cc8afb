"""The picture of `sgs top`: real jobs in a real queue, on a fake machine with four GPUs."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import machine
from drawing import HERE

from terminal import Terminal

_BOUND_S = 120.0
#: Trains, tells its process id, and waits at its 40th epoch until it is cancelled.
_TRAIN = """\
import argparse, os, pathlib, signal
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
lr, weight = parser.parse_args().lr, 3.0
for epoch in range(1, 41):
    weight -= lr * weight / 10
    print(f"epoch {epoch:3}  val_loss {weight * weight + 0.09:.4f}", flush=True)
pathlib.Path(f"{lr}.new").write_text(str(os.getpid()))
os.rename(f"{lr}.new", f"{lr}.pid")
signal.pause()
"""
_FAILS = ["--group", "lr", "--", "python3", "train.py", "--lr", "fast"]
_RATES = ["0.3", "0.1", "0.03"]
_WAITING = [
    ["--priority", "2", "--gpus", "2", "--", "python3", "finetune.py", "--model", "large"],
    ["--after", "2-4", "--", "python3", "evaluate.py", "runs/lr"],
    ["--hold", "--", "python3", "train.py", "--lr", "1"],
]


def draw(folder: Path, env: Mapping[str, str]) -> None:
    """Fill a queue, and draw the dashboard."""
    (folder / "train.py").write_text(_TRAIN)
    (folder / "jupyter-lab").symlink_to(shutil.which("sleep") or "/bin/sleep")
    with subprocess.Popen([folder / "jupyter-lab", "1000"]) as notebook:
        try:
            _fill(folder, env, notebook.pid)
            _photograph(folder, env)
        finally:
            notebook.kill()
            _sgs(folder, env, "cancel", "2-7")
            _sgs(folder, env, "server", "stop")


def _fill(folder: Path, env: Mapping[str, str], notebook: int) -> None:
    """Submit jobs that fail, run and wait; then give those that run memory on their GPUs."""
    state = Path(env["FAKE_NVML_STATE"])
    machine.write(state, [None, None, notebook, None])
    _sgs(folder, env, "server", "start")
    _sgs(folder, env, "submit", *_FAILS)
    _until(lambda: "failed" in _status(folder, env))
    for rate in _RATES:
        _sgs(folder, env, "submit", "--group", "lr", "--", "python3", "train.py", "--lr", rate)
    first, second, third = (_pid(folder / f"{rate}.pid") for rate in _RATES)
    for words in _WAITING:
        _sgs(folder, env, "submit", *words)
    machine.write(state, [first, second, notebook, third])


def _photograph(folder: Path, env: Mapping[str, str]) -> None:
    """Run `sgs top` in a terminal; `photograph.py` draws it from within."""
    command = [sys.executable, HERE / "photograph.py"]
    terminal = Terminal(command, folder, env, lines=24)
    try:
        if terminal.process.wait(_BOUND_S):
            terminal.until(lambda lines: False)
    finally:
        terminal.close()


def _pid(file: Path) -> int:
    _until(file.exists)
    return int(file.read_text())


def _until(so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + _BOUND_S
    while not so():
        if time.monotonic() > end_s:
            raise TimeoutError(so)
        time.sleep(0.05)


def _status(folder: Path, env: Mapping[str, str]) -> str:
    return subprocess.check_output(["sgs", "status", "--all"], cwd=folder, env=env, text=True)


def _sgs(folder: Path, env: Mapping[str, str], *words: str) -> None:
    subprocess.run(["sgs", *words], cwd=folder, env=env, stdout=subprocess.DEVNULL, check=True)
