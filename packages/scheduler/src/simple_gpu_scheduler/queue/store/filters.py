"""SQL conditions for the jobs that a command names: by state, group, name or number."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from simple_gpu_scheduler.queue.records import ENDED_STATES, OPEN_STATES
from simple_gpu_scheduler.queue.store.schema import IS_ENDED, IS_OPEN


def condition(
    states: Sequence[str],
    group: str | Sequence[str] | None,
    name: str | Sequence[str] | None,
    jobs: Sequence[int] | None,
) -> tuple[str, list[Any]]:
    """Return a condition that all of these must meet, and its values."""
    conditions, values = ["1"], list[Any]()
    # SQLite uses an index only where its condition stands word for word.
    if states and set(states) <= set(OPEN_STATES):
        conditions.append(IS_OPEN)
    elif states and set(states) <= set(ENDED_STATES):
        conditions.append(IS_ENDED)
    for column, allowed in (
        ("state", states or None),
        ("group_name", [group] if isinstance(group, str) else group),
        ("name", [name] if isinstance(name, str) else name),
    ):
        if allowed is not None:
            conditions.append(f"{column} IN ({', '.join('?' for _ in allowed)})")
            values += allowed
    if jobs is not None:
        conditions.append("id IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(list(jobs)))
    return " AND ".join(conditions), values
