"""The queue over the fake driver: memory found out, asked for again, and cards that fail."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import fake_nvml
from queues import Queue
from simple_gpu_scheduler.jobs.job import GPU_UNITS, share_units
from simple_gpu_scheduler.memory.peaks_file import read_peaks
from simple_gpu_scheduler.queue.records import JobRequest
from waiting import wait_until

FREE = "memory 80000 500\nutilisation 0\n"
SHARED = share_units(64)
OOM = b"echo try $SGS_ATTEMPT; echo 'torch.OutOfMemoryError: CUDA out of memory.'; exit 1"


class Cards:
    """The cards of the queue's machine, GPU-0 and so on."""

    def __init__(self, queue: Queue, library: Path) -> None:
        self.state = fake_nvml.Machine(library, queue.path)
        queue.env |= {"LD_LIBRARY_PATH": str(library), "FAKE_NVML_STATE": str(self.state.path)}
        queue.store.set("gpus", "")
        self.write("")

    def write(self, *more: str) -> None:
        """So many cards, with these lines in addition."""
        self.state.write(*(f"card GPU-{n}\n{FREE}{lines}\n" for n, lines in enumerate(more)))

    def using(self, memory_mib: int) -> bytes:
        """A job that has so much memory of GPU 0 until the file `go` is there."""
        card = f"card GPU-0\n{FREE}".replace("\n", "\\n")
        state = self.state.path
        return (
            f"echo + >> load; printf '{card}process %s {memory_mib}\\n' $$ > n$$; mv n$$ {state}; "
            "while [ ! -e go ]; do sleep 0.01; done; echo - >> load"
        ).encode()


@pytest.fixture
def cards(queue: Queue, library: Path) -> Cards:
    """One free card of 80 GB."""
    return Cards(queue, library)


def auto(command: bytes) -> JobRequest:
    return JobRequest(command, auto_memory=True)


def test_what_a_sweep_needs_is_found_out_and_kept(queue: Queue, cards: Cards) -> None:
    """The first job has the card alone; the rest ask for what it had, and three fit."""
    jobs = queue.submit(*(auto(cards.using(20_000) + b"; : %d" % n) for n in range(5)))
    queue.start()
    wait_until(lambda: (queue.path / "load").exists(), "the first job runs")
    state = Path(queue.env["SGS_STATE_DIR"])
    begun_s = queue.attempts()[0].started_s  # it is looked at after a quarter of a second
    wait_until(lambda: time.time() > begun_s + 1.2, "it was looked at")
    (queue.path / "go").touch()
    ends = queue.wait(*jobs)
    assert [one.state for one in ends] == ["succeeded"] * 5
    assert ends[0].peak_vram_mib == 20_000
    load = (queue.path / "load").read_text().split()
    assert load[:2] == ["+", "-"]
    assert set(read_peaks(str(state / "vram-peaks.json")).values()) == {20_000}
    assert [one.memory_mib for one in queue.attempts()] == [None, *([22_256] * 4)]


def test_out_of_memory_runs_again_with_more_then_alone_and_counts_for_nothing(
    queue: Queue, cards: Cards
) -> None:
    (job,) = queue.submit(JobRequest(OOM, units=SHARED, memory_mib=40_000))
    queue.start()
    (end,) = queue.wait(job)
    assert (end.state, end.attempt, end.exit_code) == ("failed", 3, 1)
    assert [one.memory_mib for one in queue.attempts()] == [40_000, 60_000, None]
    assert (end.memory_mib, end.units) == (None, GPU_UNITS)
    assert queue.log(job, 3) == b"try 3\ntorch.OutOfMemoryError: CUDA out of memory.\n"


def test_jobs_that_share_are_told_to_be_modest_unless_they_said_otherwise(
    queue: Queue, cards: Cards
) -> None:
    show = b"echo ${XLA_PYTHON_CLIENT_PREALLOCATE-unset} ${TF_FORCE_GPU_ALLOW_GROWTH-unset}"
    whole, shares = queue.submit(show, JobRequest(show, units=SHARED, memory_mib=1000))
    said = (*queue.context.environ, (b"XLA_PYTHON_CLIENT_PREALLOCATE", b"true"))
    queue.context = queue.context._replace(environ=said)
    (said_so,) = queue.submit(JobRequest(show, units=SHARED, memory_mib=1000))
    queue.start()
    queue.wait(whole, shares, said_so)
    logs = [queue.log(job) for job in (whole, shares, said_so)]
    assert logs == [b"unset unset\n", b"false true\n", b"true true\n"]


def test_a_job_on_a_card_that_fails_runs_again_elsewhere(queue: Queue, cards: Cards) -> None:
    cards.write("", "")
    (job,) = queue.submit(b"echo $CUDA_VISIBLE_DEVICES; [ $SGS_ATTEMPT = 2 ] || { touch up; "
                          b"while [ ! -e go ]; do sleep 0.01; done; exit 9; }")  # fmt: skip
    queue.start()
    wait_until(lambda: (queue.path / "up").exists(), "it runs")
    cards.write("lost", "")
    (queue.path / "go").touch()
    (end,) = queue.wait(job)
    assert (end.state, end.attempt) == ("succeeded", 2)
    assert (queue.log(job, 1), queue.log(job, 2)) == (b"0\n", b"1\n")
    assert "fallen off the bus" in queue.attempts()[0].reason


def test_a_job_that_asks_for_more_than_there_is_fails_and_the_rest_runs(
    queue: Queue, cards: Cards
) -> None:
    asked = [
        JobRequest(b"true", gpus=2),
        JobRequest(b"true", units=SHARED, memory_mib=90_000),
        b"true",
    ]
    jobs = queue.submit(*asked)
    queue.start()
    first, second, third = queue.wait(*jobs)
    assert first.state == second.state == "failed"
    assert "asks for 2 GPUs, but there is only 1" in first.reason
    assert "the largest has 77.6 GiB" in second.reason
    assert third.state == "succeeded"


def test_strangers_and_cards_to_be_kept_free_are_left_alone(queue: Queue, cards: Cards) -> None:
    cards.write("process 1 9000", "", "")
    queue.store.set("keep_free", "1")
    first, second = queue.submit(*[b"echo $CUDA_VISIBLE_DEVICES; while [ ! -e go ]; do "
                                   b"sleep 0.01; done"] * 2)  # fmt: skip
    queue.start()
    wait_until(lambda: queue.log(first), "the first runs")
    cards.write("", "", "")
    wait_until(lambda: queue.log(second), "the second runs, once the stranger is gone")
    assert (queue.log(first), queue.log(second)) == (b"1\n", b"0\n")
    (queue.path / "go").touch()
    queue.wait(first, second)
