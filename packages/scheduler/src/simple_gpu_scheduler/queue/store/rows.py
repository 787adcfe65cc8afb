"""Rows of the queue's file as records, by the names of their columns.

What is selected is made from the fields of the record, so that neither a new column nor a new
field can take the place of another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.queue.attempts import Run
from simple_gpu_scheduler.queue.records import Attempt, QueuedJob


def _select(fields: Sequence[str], others: Mapping[str, str]) -> str:
    """The columns of a record: those of the fields' names, but for these."""
    return ", ".join(others.get(field, field) for field in fields)


#: A share of a GPU is kept as how many such jobs fill it.
JOB_COLUMNS = _select(QueuedJob._fields, {"group": "group_name", "units": "slots"})

_RUNNING_FIELDS = Attempt._fields[: Attempt._fields.index("boot") + 1]
RUNNING_COLUMNS = _select(_RUNNING_FIELDS, {field: f"a.{field}" for field in _RUNNING_FIELDS})

RUN_COLUMNS = _select(
    Run._fields,
    {field: f"a.{field}" for field in Run._fields}
    | {field: f"j.{field}" for field in ("command", "name", "submitted_s", "not_before_s")}
    | {"group": "j.group_name"}
    | {"state": "CASE WHEN a.number = j.attempt THEN j.state ELSE '' END"},
)


def job(row: Sequence[Any]) -> QueuedJob:
    """A row of `JOB_COLUMNS`."""
    plain = QueuedJob._make(row)
    return plain._replace(
        units=GPU_UNITS // plain.units,
        auto_memory=bool(plain.auto_memory),
        gpu_names=split_names(plain.gpu_names),
        requeue=bool(plain.requeue),
        kill_leftovers=bool(plain.kill_leftovers),
    )


def running(row: Sequence[Any]) -> Attempt:
    """A row of `RUNNING_COLUMNS`."""
    plain = Attempt(*row)
    return plain._replace(gpu_names=split_names(plain.gpu_names))


def run(row: Sequence[Any]) -> Run:
    """A row of `RUN_COLUMNS`."""
    plain = Run._make(row)
    return plain._replace(gpu_names=split_names(plain.gpu_names))


def join_names(names: Sequence[str]) -> str:
    """GPU names as they are kept."""
    return ",".join(names)


def split_names(names: Any) -> tuple[str, ...]:
    """GPU names that were kept so."""
    return tuple(names.split(",")) if names else ()
