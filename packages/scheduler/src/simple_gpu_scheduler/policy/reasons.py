"""Why a job doesn't start, worded for the user."""

from __future__ import annotations

from collections.abc import Sequence

from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job
from simple_gpu_scheduler.policy.model import Card, Hold, Phase


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"


def explain(hold: Hold) -> str:
    """Why a job waits."""
    if hold.behind is not None:
        return f"waits behind job {hold.behind.seq}, which needs {needs(hold.behind)}"
    if hold.until_s is not None:
        return "waits for the pause between two starts (--delay)"
    if hold.most_free is not None:
        return _lacks_memory(hold.job, hold.most_free)
    free = f"{hold.free} {'is' if hold.free == 1 else 'are'} free"
    return f"needs {needs(hold.job)}, and {free}"


def needs(job: Job) -> str:
    """What a job asks for. If that is memory, its share of the GPU is left out."""
    if job.memory_mib is not None:
        return _on_gpus(job, gib(job.memory_mib))
    if job.units == GPU_UNITS:
        return _gpus(job.gpus)
    return f"{_gpus(job.gpus)} (1/{GPU_UNITS // job.units} of {'it' if job.gpus == 1 else 'each'})"


def _on_gpus(job: Job, memory: str) -> str:
    return f"{memory} on {'one GPU' if job.gpus == 1 else f'each of {_gpus(job.gpus)}'}"


def _lacks_memory(job: Job, most_free: tuple[str, int]) -> str:
    gpu, free_mib = most_free
    need, most = gibs(job.memory_mib or 0, free_mib)
    if free_mib >= (job.memory_mib or 0):  # enough on some GPU, but not on as many as needed
        return f"needs {_on_gpus(job, gib(job.memory_mib or 0))}; too few have that much free"
    return f"needs {_on_gpus(job, need)}; the most free is {most} on GPU {gpu}"


def gibs(need_mib: int, have_mib: int) -> tuple[str, str]:
    """Both sizes with the same unit, so precise that they look alike only if they are equal."""
    need, have = gib(need_mib), gib(have_mib)
    return (need, have) if need != have else (f"{need_mib} MiB", f"{have_mib} MiB")


def gib(mib: int) -> str:
    """A size such as `10 GiB`, `6.2 GiB` or `512 MiB`."""
    return f"{mib} MiB" if mib < 1024 else f"{mib / 1024:.1f}".removesuffix(".0") + " GiB"


def impossible(job: Job, gpus: int, cards: Sequence[Card] = ()) -> str | None:
    """Why the job could never run on `gpus` GPUs; None if it could.

    Args:
        cards: those GPUs, to check their memory too.
    """
    if job.gpus > gpus:
        return f"asks for {_gpus(job.gpus)}, but there {'is' if gpus == 1 else 'are'} only {gpus}"
    if job.memory_mib is None or not cards:
        return None
    return _too_large(job, job.memory_mib, cards)


def _too_large(job: Job, need_mib: int, cards: Sequence[Card]) -> str | None:
    sizes = [(card.memory_mib, card.name) for card in cards if card.memory_mib is not None]
    if not sizes:
        return f"asks for {needs(job)}, but nobody knows how much memory the GPUs have"
    enough = sum(mib >= need_mib for mib, _ in sizes)
    if enough >= job.gpus:
        return None
    if enough:
        only = f"only {enough} {'has' if enough == 1 else 'have'} that much"
        return f"asks for {needs(job)}, but {only}"
    mib, name = max(sizes, key=lambda size: size[0])
    need, largest = gibs(need_mib, mib)
    return f"asks for {_on_gpus(job, need)}, but the largest has {largest} (GPU {name})"


def ending(phase: Phase, running: int) -> str:
    """What happens after the user's signal, and what the next signal does."""
    jobs = "1 job" if running == 1 else f"{running} jobs"
    if phase is Phase.DRAINING:
        return f"reading no more, waiting for {jobs}; a second one ends them"
    if phase is Phase.ENDING:
        return f"ending {jobs}; one more kills them"
    return f"killing {jobs}"


def more_memory(job: Job, again: Job) -> str:
    """That a job ran out of GPU memory, and how it runs again."""
    had = f"job {job.seq} ran out of GPU memory with {gib(job.memory_mib or 0)}"
    if again.units == GPU_UNITS:
        return f"{had}; trying again alone on its GPU"
    return f"{had}; trying again with {gib(again.memory_mib or 0)}"
