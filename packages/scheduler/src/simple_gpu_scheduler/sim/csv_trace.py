"""Reads traces from files of comma separated values, in two formats.

simple  the columns submit_s and runtime_s; optional: gpus (default 1), memory_mib (of each GPU;
        empty: whole GPUs)
openb   the pod list of the cluster-trace-gpu-v2023 of github.com/alibaba/clusterdata: num_gpu,
        gpu_milli (thousandths of one GPU), creation_time, scheduled_time, deletion_time

A share of a GPU becomes the same share of its memory.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.sim.trace import Task, Trace, format_left_out, sort_tasks

_REQUIRED_COLUMNS = {
    "simple": ("submit_s", "runtime_s"),
    "openb": ("num_gpu", "gpu_milli", "creation_time", "deletion_time"),
}
FORMATS = ("auto", *_REQUIRED_COLUMNS)

_MAX_NUMBER = 1e12  # no trace has as many seconds or MiB

#: Why a row becomes no job.
SkipReason = str


class _Row:
    """A row of the file, with the line number for errors."""

    def __init__(self, where: str, row: Mapping[str, str]) -> None:
        self._where = where
        self._row = row

    def text(self, column: str) -> str:
        return (self._row.get(column) or "").strip()

    def number(self, column: str, default: float | None = None) -> float:
        text = self.text(column)
        if not text and default is not None:
            return float(default)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value <= _MAX_NUMBER:
            raise UsageError(
                f"{self._where}: {column} is {text!r}, but a number of at least 0 was expected"
            )
        return value

    def whole(self, column: str, default: float | None = None) -> int:
        value = self.number(column, default)
        if not value.is_integer():
            raise UsageError(
                f"{self._where}: {column} is {self.text(column)!r}, "
                "but a whole number was expected"
            )
        return int(value)

    def error(self, text: str) -> UsageError:
        return UsageError(f"{self._where}: {text}")


def read(lines: Iterable[str], name: str, format_name: str, memory_mib: int) -> Trace:
    """Read a trace.

    Args:
        lines: the lines of the file.
        name: the name of the file, for errors.
        format_name: one of `FORMATS`; `auto` decides by the columns.
        memory_mib: the memory of a GPU, for jobs that use a share of one.

    Raises:
        UsageError: the file is not a trace; the message names the line.
    """
    reader = csv.DictReader(lines, strict=True)
    tasks: list[Task] = []
    left_out: Counter[str] = Counter()
    try:
        parse_row = _PARSERS[_find_format(reader, name, format_name)]
        for row in reader:
            task = parse_row(_make_row(row, f"{name}, line {reader.line_num}"), memory_mib)
            if isinstance(task, SkipReason):
                left_out[task] += 1
            else:
                tasks.append(task)
    except csv.Error as error:
        raise UsageError(f"{name}, after line {reader.line_num}: not CSV ({error})") from None
    if not tasks:
        raise UsageError(f"{name}: has no job to simulate{format_left_out(left_out)}")
    return Trace(sort_tasks(tasks), left_out)


def _make_row(row: dict[str, str], where: str) -> _Row:
    if None in row:  # csv puts surplus values there
        raise UsageError(f"{where}: has more values than there are columns")
    return _Row(where, row)


def _find_format(reader: csv.DictReader[str], name: str, format_name: str) -> str:
    """Find the format by the columns, and check that all required columns are there."""
    while reader.fieldnames == []:  # a blank line before the titles
        reader.fieldnames = None
    columns = [column.strip() for column in reader.fieldnames or ()]
    reader.fieldnames = columns
    if format_name == "auto":
        format_name = "openb" if "creation_time" in columns else "simple"
    required = _REQUIRED_COLUMNS[format_name]
    missing = [column for column in required if column not in columns]
    if missing:
        raise UsageError(
            f"{name}: the first line names no column {' or '.join(missing)}; expected "
            f"{', '.join(required)} (format {format_name}), got "
            f"{', '.join(columns) or 'nothing'}"
        )
    return format_name


def _parse_simple(row: _Row, _memory_mib: int) -> Task | SkipReason:
    gpus = row.whole("gpus", 1)
    if gpus < 1:
        return "needs no GPU"
    memory_mib = row.whole("memory_mib", 0) or None
    return Task(row.number("submit_s"), row.number("runtime_s"), gpus, memory_mib)


def _parse_openb(row: _Row, memory_mib: int) -> Task | SkipReason:
    gpus, milli = row.whole("num_gpu"), row.whole("gpu_milli", 0)
    if gpus < 1:
        return "needs no GPU"
    if milli > 1000:
        raise row.error(f"gpu_milli is {milli}, but of one GPU there are 1000")
    submit_s, end_s = row.number("creation_time"), row.number("deletion_time")
    if row.text("scheduled_time") == "":
        return "never ran"
    start_s = row.number("scheduled_time")
    if end_s < start_s:
        raise row.error(f"deletion_time {end_s:g} is before scheduled_time {start_s:g}")
    share = None if gpus > 1 or milli in (0, 1000) else math.ceil(milli * memory_mib / 1000)
    return Task(submit_s, end_s - start_s, gpus, share)


_PARSERS: dict[str, Callable[[_Row, int], Task | SkipReason]] = {
    "simple": _parse_simple,
    "openb": _parse_openb,
}
