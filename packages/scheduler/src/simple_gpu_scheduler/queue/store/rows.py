"""Converts rows of the queue's file to records, by the names of the columns.

The selected columns are made from the fields of the record. So a new column or field can't be
mistaken for another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.queue.attempt_history import AttemptRecord
from simple_gpu_scheduler.queue.records import Attempt, QueuedJob


def _select(fields: Sequence[str], renamed: Mapping[str, str]) -> str:
    """List the columns of these fields, which have the same names unless renamed."""
    return ", ".join(renamed.get(field, field) for field in fields)


#: A share of a GPU is stored as `slots`: the number of such jobs that fill the GPU.
JOB_COLUMNS = _select(QueuedJob._fields, {"group": "group_name", "units": "slots"})

_RUNNING_FIELDS = Attempt._fields[: Attempt._fields.index("boot") + 1]
RUNNING_COLUMNS = _select(_RUNNING_FIELDS, {field: f"a.{field}" for field in _RUNNING_FIELDS})

RUN_COLUMNS = _select(
    AttemptRecord._fields,
    {field: f"a.{field}" for field in AttemptRecord._fields}
    | {field: f"j.{field}" for field in ("command", "name", "submitted_s", "not_before_s")}
    | {"group": "j.group_name"}
    | {"state": "CASE WHEN a.number = j.attempt THEN j.state ELSE '' END"},
)


def job(row: Sequence[Any]) -> QueuedJob:
    """Convert a row of `JOB_COLUMNS`."""
    plain = QueuedJob._make(row)
    return plain._replace(
        units=GPU_UNITS // plain.units,
        auto_memory=bool(plain.auto_memory),
        gpu_names=split_names(plain.gpu_names),
        requeue=bool(plain.requeue),
        kill_leftovers=bool(plain.kill_leftovers),
    )


def running(row: Sequence[Any]) -> Attempt:
    """Convert a row of `RUNNING_COLUMNS`."""
    plain = Attempt(*row)
    return plain._replace(gpu_names=split_names(plain.gpu_names))


def run(row: Sequence[Any]) -> AttemptRecord:
    """Convert a row of `RUN_COLUMNS`."""
    plain = AttemptRecord._make(row)
    return plain._replace(gpu_names=split_names(plain.gpu_names))


def join_names(names: Sequence[str]) -> str:
    """Return GPU names as one column has them."""
    return ",".join(names)


def split_names(names: Any) -> tuple[str, ...]:
    """Return the GPU names that `join_names` has written."""
    return tuple(names.split(",")) if names else ()
