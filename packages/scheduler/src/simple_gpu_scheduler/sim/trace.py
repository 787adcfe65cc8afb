"""Jobs to simulate: when each was submitted, how long it runs and what it needs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.errors import UsageError


class Task(NamedTuple):
    """One job of a trace."""

    submit_s: float
    runtime_s: float
    gpus: int = 1
    memory_mib: int | None = None  #: of each of its GPUs; None: it needs them whole


class Trace(NamedTuple):
    """Jobs in the order of their submission, and what was left out of them, and how often."""

    tasks: tuple[Task, ...]
    left_out: Mapping[str, int] = {}


def in_order(tasks: Iterable[Task]) -> tuple[Task, ...]:
    """By the time of their submission, which then begins at 0."""
    ordered = sorted(tasks, key=lambda task: task.submit_s)
    first_s = ordered[0].submit_s if ordered else 0.0
    return tuple(task._replace(submit_s=task.submit_s - first_s) for task in ordered)


def piece(trace: Trace, first: int, end: int | None) -> Trace:
    """Jobs `first` to `end` of the trace, counted from 0, the end left out.

    Raises:
        UsageError: there are none.
    """
    tasks = in_order(trace.tasks[first:end])
    if not tasks:
        outside = f"outside --slice {first}:{'' if end is None else end}"
        raise UsageError(_none_left(_leaving_out(trace, tasks, outside)))
    return trace._replace(tasks=tasks)


def _none_left(trace: Trace) -> str:
    total = sum(trace.left_out.values())
    return f"no job is left to simulate: the trace has {total}{told(trace.left_out)}"


def told(left_out: Mapping[str, int]) -> str:
    """How many jobs were left out, and why, to end a sentence; empty if none were."""
    reasons = ", ".join(f"{count} ({reason})" for reason, count in left_out.items())
    return f"; left out: {reasons}" if reasons else ""


def possible(trace: Trace, gpus: int, memory_mib: int) -> Trace:
    """Without the jobs that so many GPUs with so much memory can't run."""
    fitting = [task for task in trace.tasks if _fits(task, gpus, memory_mib)]
    return _leaving_out(trace, fitting, "asks for more GPUs or memory than the machine has")


def _fits(task: Task, gpus: int, memory_mib: int) -> bool:
    return task.gpus <= gpus and (task.memory_mib or 0) <= memory_mib


def up_to(trace: Trace, longest_s: float) -> Trace:
    """Without the jobs that run longer."""
    kept = [task for task in trace.tasks if task.runtime_s <= longest_s]
    return _leaving_out(trace, kept, "runs longer than --longest")


def _leaving_out(trace: Trace, kept: Sequence[Task], reason: str) -> Trace:
    lost = len(trace.tasks) - len(kept)
    if not lost:
        return trace
    return Trace(in_order(kept), {**trace.left_out, reason: lost})


def load(tasks: Sequence[Task], gpus: int) -> float:
    """GPU time asked for, with whole GPUs, over the GPU time there is while jobs are submitted."""
    span_s = tasks[-1].submit_s - tasks[0].submit_s
    asked_s = math.fsum(task.runtime_s * task.gpus for task in tasks)
    return asked_s / (gpus * span_s) if span_s else math.inf


def with_load(tasks: Sequence[Task], gpus: int, factor: float) -> tuple[Task, ...]:
    """The same jobs submitted faster or slower, so that `load` is the factor; inf: all at once."""
    if math.isinf(factor):
        return tuple(task._replace(submit_s=0.0) for task in tasks)
    now = load(tasks, gpus)
    stretch = now / factor if math.isfinite(now) else 1.0
    return tuple(task._replace(submit_s=task.submit_s * stretch) for task in tasks)
