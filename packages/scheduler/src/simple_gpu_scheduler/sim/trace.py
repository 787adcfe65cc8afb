"""The jobs to simulate: when each is submitted, how long it runs and what it needs."""

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
    """Jobs in the order of their submission."""

    tasks: tuple[Task, ...]
    left_out: Mapping[str, int] = {}  #: how many jobs were left out, by the reason


def sort_tasks(tasks: Iterable[Task]) -> tuple[Task, ...]:
    """Sort jobs by submission, and shift all times so that the first one is submitted at 0."""
    ordered = sorted(tasks, key=lambda task: task.submit_s)
    first_s = ordered[0].submit_s if ordered else 0.0
    return tuple(task._replace(submit_s=task.submit_s - first_s) for task in ordered)


def take_slice(trace: Trace, first: int, end: int | None) -> Trace:
    """The jobs `first` to `end` - 1 of the trace, counted from 0.

    Raises:
        UsageError: no job is left.
    """
    tasks = sort_tasks(trace.tasks[first:end])
    if not tasks:
        outside = f"outside --slice {first}:{'' if end is None else end}"
        raise UsageError(_no_job_message(_leave_out(trace, tasks, outside)))
    return trace._replace(tasks=tasks)


def _no_job_message(trace: Trace) -> str:
    total = sum(trace.left_out.values())
    return f"no job is left to simulate: the trace has {total}{format_left_out(trace.left_out)}"


def format_left_out(left_out: Mapping[str, int]) -> str:
    """The end of a sentence: how many jobs were left out, and why; empty if none were."""
    reasons = ", ".join(f"{count} ({reason})" for reason, count in left_out.items())
    return f"; left out: {reasons}" if reasons else ""


def drop_impossible(trace: Trace, gpus: int, memory_mib: int) -> Trace:
    """Leave out the jobs that so many GPUs with so much memory can't run."""
    fitting = [task for task in trace.tasks if _fits(task, gpus, memory_mib)]
    return _leave_out(trace, fitting, "asks for more GPUs or memory than the machine has")


def _fits(task: Task, gpus: int, memory_mib: int) -> bool:
    return task.gpus <= gpus and (task.memory_mib or 0) <= memory_mib


def drop_longer(trace: Trace, longest_s: float) -> Trace:
    """Leave out the jobs that run longer than `longest_s`."""
    kept = [task for task in trace.tasks if task.runtime_s <= longest_s]
    return _leave_out(trace, kept, "runs longer than --longest")


def _leave_out(trace: Trace, kept: Sequence[Task], reason: str) -> Trace:
    left_out = len(trace.tasks) - len(kept)
    if not left_out:
        return trace
    return Trace(sort_tasks(kept), {**trace.left_out, reason: left_out})


def load(tasks: Sequence[Task], gpus: int) -> float:
    """The GPU time that jobs need, divided by the GPU time from first to last submission.

    Every job counts as if it had its GPUs alone. Infinite if all jobs are submitted at once.
    """
    span_s = tasks[-1].submit_s - tasks[0].submit_s
    asked_s = math.fsum(task.runtime_s * task.gpus for task in tasks)
    return asked_s / (gpus * span_s) if span_s else math.inf


def with_load(tasks: Sequence[Task], gpus: int, factor: float) -> tuple[Task, ...]:
    """Submit the jobs faster or slower, so that `load` becomes `factor`; inf: all at once."""
    if math.isinf(factor):
        return tuple(task._replace(submit_s=0.0) for task in tasks)
    present = load(tasks, gpus)
    stretch = present / factor if math.isfinite(present) else 1.0
    return tuple(task._replace(submit_s=task.submit_s * stretch) for task in tasks)
