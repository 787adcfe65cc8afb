"""Draws jobs at random: Poisson arrivals and lognormal runtimes. The same seed, the same jobs.

Production traces have long tails of runtimes and small shares of a GPU (Weng et al., "MLaaS in the
Wild", NSDI 2022). The numbers here are round, and not fitted to any trace.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from simple_gpu_scheduler.sim.trace import Task, sort_tasks

#: Median 10 minutes; one in twenty runs longer than 72 minutes.
_RUNTIME_MEDIAN_S = 600.0
_RUNTIME_SIGMA = 1.2


class Mix(NamedTuple):
    """How often jobs of each size are drawn."""

    shares: dict[float, int]  #: share of a GPU's memory (1: the whole GPU) -> weight
    gpus: dict[int, int]  #: number of GPUs -> weight


_SMALL = {0.05: 2, 0.1: 3, 0.15: 2, 0.2: 2, 0.25: 1}
_MIXED = {0.05: 1, 0.1: 2, 0.2: 2, 0.3: 2, 0.45: 2, 0.6: 1, 0.8: 1, 1: 2}
_LARGE = {0.35: 2, 0.45: 3, 0.55: 3, 0.7: 2, 0.9: 1, 1: 2}

MIXES = {
    "small": Mix(_SMALL, {1: 1}),  # a sweep of small models
    "mixed": Mix(_MIXED, {1: 85, 2: 10, 4: 5}),
    "large": Mix(_LARGE, {1: 90, 2: 10}),  # two rarely fit on one GPU
    "whole": Mix({1: 1}, {1: 80, 2: 12, 4: 8}),  # nothing is shared
}


def synthetic(count: int, memory_mib: int, mix: Mix, seed: int) -> tuple[Task, ...]:
    """Draw jobs; on average one per second is submitted.

    Args:
        count: the number of jobs.
        memory_mib: the memory of a GPU.
        mix: how often each size is drawn.
        seed: the same seed gives the same jobs.
    """
    draw = random.Random(seed)
    tasks: list[Task] = []
    submit_s = 0.0
    for _ in range(count):
        submit_s += draw.expovariate(1.0)
        tasks.append(_task(draw, submit_s, memory_mib, mix))
    return sort_tasks(tasks)


def _task(draw: random.Random, submit_s: float, memory_mib: int, mix: Mix) -> Task:
    runtime_s = _RUNTIME_MEDIAN_S * draw.lognormvariate(0.0, _RUNTIME_SIGMA)
    gpus = draw.choices([*mix.gpus], [*mix.gpus.values()])[0]
    share = draw.choices([*mix.shares], [*mix.shares.values()])[0]
    memory = None if share == 1 else round(share * memory_mib)
    return Task(submit_s, runtime_s, gpus, memory)
