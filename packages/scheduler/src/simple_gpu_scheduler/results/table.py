"""The table: its columns, its cells, and what is left out on a narrow terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from simple_gpu_scheduler.results.cells import duration, format_value
from simple_gpu_scheduler.results.job import BUILT_IN, JobResult
from simple_gpu_scheduler.results.metrics import split
from simple_gpu_scheduler.results.parsing import Value, is_number
from simple_gpu_scheduler.results.ranking import Sort, is_ranked
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.text.table import format_table, row_width
from simple_gpu_scheduler.text.terminal import crop, text_width

MAX_TEXT = 40  # width of a cell; longer ones are cut
MIN_TEXT = 12  # the same if the terminal is too narrow


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table."""

    name: str
    cells: Sequence[str]
    right: bool = True  #: aligned to the right
    weight: int = 0  #: columns with the highest weight are left out first; 0: never left out


# --- Which columns ---------------------------------------------------------------------------


def columns_by_default(
    jobs: Sequence[JobResult], sort: Sort | None
) -> tuple[list[str], dict[str, Value]]:
    """Return the names of the columns to show, and the values that all jobs share.

    These values have no column.
    """
    finished = [job for job in jobs if job.state == "ok"] or jobs
    by = [sort.metric] if sort else []
    shown: list[str] = []
    shared: dict[str, Value] = {}
    for name in dict.fromkeys((*_parameter_names(jobs), *by, *_printed_names(jobs))):
        if name in BUILT_IN or name == "rank" or _is_list(name, finished):
            continue
        if name not in by and _is_shared(name, jobs, finished):
            shared[name] = finished[0].value(name)
        else:
            shown.append(name)
    columns = dict.fromkeys(("job", *shown, *by, "runtime", "gpu", "status"))
    return ["rank", *columns] if sort else list(columns), shared


def column_names(jobs: Sequence[JobResult]) -> list[str]:
    """Return all names that columns can have."""
    own = (*_parameter_names(jobs), *_printed_names(jobs))
    return list(dict.fromkeys(("rank", *BUILT_IN, *own)))


def _parameter_names(jobs: Sequence[JobResult]) -> dict[str, None]:
    return dict.fromkeys(name for job in jobs for name in job.parameters)


def _printed_names(jobs: Sequence[JobResult]) -> dict[str, None]:
    return dict.fromkeys(name for job in jobs for name in job.metrics)


def _is_list(name: str, jobs: Sequence[JobResult]) -> bool:
    """Return whether the value is a list, such as a curve: only `--json` shows it."""
    return any(isinstance(job.value(name), list) for job in jobs)


def _is_shared(name: str, jobs: Sequence[JobResult], finished: Sequence[JobResult]) -> bool:
    if len(finished) < 2 or not all(_has(job, name) for job in finished):
        return False
    return len({repr(job.value(name)) for job in jobs if _has(job, name)}) == 1


def _has(job: JobResult, name: str) -> bool:
    return name in job.metrics or name in job.parameters


# --- Their cells -----------------------------------------------------------------------------


def make_columns(
    jobs: Sequence[JobResult],
    names: Sequence[str],
    sort: Sort | None,
    max_text: int | None = MAX_TEXT,
) -> list[Column]:
    """Format the columns of these names.

    Args:
        jobs: a row each, in this order.
        names: of the columns; `rank` is the place by the metric.
        sort: the order of the jobs.
        max_text: the width of a cell, at which it is cut; None: no cell is cut.
    """
    parameters = _parameter_names(jobs)
    columns = []
    for i, name in enumerate(names):
        if name == "rank":
            columns.append(_ranks(jobs, sort))
            continue
        fixed = name in ("job", "status") or (sort is not None and name == sort.metric)
        column = _column(jobs, name, 0 if fixed else _weight(name, i, name in parameters))
        columns.append(column if max_text is None else _shorten(column, max_text))
    return columns


def _ranks(jobs: Sequence[JobResult], sort: Sort | None) -> Column:
    ranked = enumerate((is_ranked(job, sort) for job in jobs), start=1)
    return Column("rank", [str(place) if is_one else "-" for place, is_one in ranked])


def _weight(name: str, place: int, is_parameter: bool) -> int:
    """Return the weight of a column.

    Parameters stay longest, then built-in columns, then validation, test and training metrics.
    """
    if name in BUILT_IN:
        return 500
    return place + (10 if is_parameter else 1000 * (1 + split(name)))


def _column(jobs: Sequence[JobResult], name: str, weight: int) -> Column:
    values = [job.value(name) for job in jobs]
    right = not any(isinstance(value, (str, list)) for value in values) or name == "gpu"
    return Column(name, _cells(name, values), right, weight)


def _cells(name: str, values: Sequence[Value]) -> list[str]:
    if name == "runtime":
        return [duration(v) if is_number(v) else format_value(v) for v in values]
    short = all(len(repr(v)) <= 6 for v in values if isinstance(v, float))
    return [format_value(v, short=short) for v in values]


def _shorten(column: Column, limit: int) -> Column:
    return replace(column, cells=[crop(cell, limit) for cell in column.cells])


# --- Their place on the terminal -------------------------------------------------------------


def fit(columns: Sequence[Column], width: int | None) -> tuple[list[Column], list[str]]:
    """Cut cells, then leave columns out, until a row fits.

    Returns:
        The columns that stay, and the names of those that are left out.
    """
    kept = list(columns)
    if width is None:
        return kept, []
    if _row_width(kept) > width:
        kept = [_shorten(column, MIN_TEXT) for column in kept]
    dropped: list[str] = []
    while _row_width(kept) > width and any(column.weight for column in kept):
        heaviest = max(kept, key=lambda column: column.weight)
        kept.remove(heaviest)
        dropped.insert(0, heaviest.name)
    return kept, dropped


def _row_width(columns: Sequence[Column]) -> int:
    return row_width([_column_width(column) for column in columns])


def _column_width(column: Column) -> int:
    return max(map(text_width, (printable(column.name), *column.cells)))


def render(columns: Sequence[Column], width: int | None = None) -> list[str]:
    """Return the lines of the table: the names, then a line for each job."""
    rows = list(zip(*((printable(column.name), *column.cells) for column in columns), strict=True))
    lines = format_table(rows, [column.right for column in columns])
    return lines if width is None else [crop(line, width) for line in lines]
