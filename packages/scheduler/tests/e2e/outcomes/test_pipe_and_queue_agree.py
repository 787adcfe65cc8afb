"""What becomes of a job that has ended is the same in the pipe and in the queue."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import fake_nvml
from queues import Queue
from simple_gpu_scheduler.jobs.job import share_units
from simple_gpu_scheduler.queue.records import JobRequest
from waiting import BOUND_S

PIPE = str(Path(sys.executable).parent / "simple_gpu_scheduler")
OOM = "echo 'torch.OutOfMemoryError: CUDA out of memory.' >&2"
HANG = "while :; do sleep 0.05; done"
#: A job on GPU 0 makes that card fail; elsewhere it does nothing.
BREAK = '{ [ "$CUDA_VISIBLE_DEVICES" != 0 ] || cp broken new && mv new machine.state; }'
TIMEOUT_S = 2.0


class Case(NamedTuple):
    """A job, and what is to become of it."""

    attempts: tuple[str, ...]  #: what each attempt does; the last one also all that follow
    runs: int
    succeeds: bool
    sizes_mib: tuple[int, ...] = (80_000, 40_000)  #: of the machine's GPUs
    gpus: int = 1
    vram_mib: int | None = None
    tries: int = 1
    timeout_s: float | None = None


CASES = {
    "it succeeds": Case(("true",), 1, True),
    "it fails": Case(("exit 3",), 1, False),
    "its last try succeeds": Case(("exit 3", "exit 4", "true"), 3, True, tries=3),
    "its last try fails": Case(("exit 3",), 2, False, tries=2),
    "memory is lacking once": Case((f"{OOM}; exit 1", "true"), 2, True, vram_mib=30_000),
    "memory is lacking once on two GPUs of different size": Case(
        (f"{OOM}; exit 1", "true"), 2, True, gpus=2, vram_mib=30_000
    ),
    "memory is always lacking": Case((f"{OOM}; exit 1",), 4, False, vram_mib=30_000),
    "memory is lacking for more GPUs than are so large": Case(
        (f"{OOM}; exit 1",), 2, False, gpus=2, vram_mib=30_000
    ),
    "memory is lacking, and it has tries": Case(
        (f"{OOM}; exit 1", "exit 3", "true"), 3, True, vram_mib=30_000, tries=2
    ),
    "it didn't ask for memory": Case((f"{OOM}; exit 1",), 1, False),
    "it takes too long": Case((HANG, "true"), 2, True, tries=2, timeout_s=TIMEOUT_S),
    "it takes too long, always": Case((HANG,), 1, False, timeout_s=TIMEOUT_S),
    "it lacks memory and hangs": Case(
        (f"{OOM}; {HANG}", "true"), 2, True, vram_mib=30_000, timeout_s=TIMEOUT_S
    ),
    "its GPU fails": Case((f"{BREAK}; exit 9", "true"), 2, True),
    "its GPU fails and it hangs": Case((f"{BREAK}; {HANG}", "true"), 2, True, timeout_s=TIMEOUT_S),
}


def script(case: Case) -> str:
    """The command: it notes each run, and does what that attempt is to do."""
    *first, last = case.attempts
    choices = "".join(f"{number}) {what};; " for number, what in enumerate(first, 1))
    return f"echo >> runs; case $(wc -l < runs) in {choices}*) {last};; esac"


def machine(queue: Queue, library: Path, case: Case) -> dict[str, str]:
    """The environment of programs on a machine with such GPUs."""
    cards = [f"card GPU-{n}\nmemory {mib} 0\n" for n, mib in enumerate(case.sizes_mib)]
    state = fake_nvml.Machine(library, queue.path)
    state.write(*cards)
    (queue.path / "broken").write_text(f"{cards[0]}lost\n{''.join(cards[1:])}")
    return {"LD_LIBRARY_PATH": str(library), "FAKE_NVML_STATE": str(state.path)}


def by_pipe(queue: Queue, case: Case, environ: dict[str, str]) -> bool:
    options = [f"--gpus-per-job={case.gpus}", f"--retries={case.tries}"]
    options += [] if case.vram_mib is None else [f"--vram={case.vram_mib}M"]
    options += [] if case.timeout_s is None else [f"--timeout={case.timeout_s}"]
    done = subprocess.run(
        [PIPE, *options], input=script(case), text=True, cwd=queue.path,
        env={**queue.env, **environ}, timeout=BOUND_S, check=False, capture_output=True,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0


def by_queue(queue: Queue, case: Case, environ: dict[str, str]) -> bool:
    queue.env |= environ
    queue.store.set("gpus", "")
    asked = JobRequest(script(case).encode(), gpus=case.gpus, tries=case.tries)
    if case.vram_mib is not None:
        asked = asked._replace(memory_mib=case.vram_mib, units=share_units(64))
    (job,) = queue.submit(asked._replace(timeout_s=case.timeout_s))
    queue.start()
    (end,) = queue.wait(job)
    assert end.state in ("succeeded", "failed")
    return end.state == "succeeded"


@pytest.mark.parametrize("way", [by_pipe, by_queue])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_becomes_of_it(way, case: Case, queue: Queue, library: Path) -> None:
    succeeded = way(queue, case, machine(queue, library, case))
    runs = (queue.path / "runs").read_text().count("\n")
    assert (runs, succeeded) == (case.runs, case.succeeds)
