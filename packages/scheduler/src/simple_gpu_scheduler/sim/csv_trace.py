"""Traces in files of comma separated values, in two forms.

simple  columns submit_s, runtime_s; gpus (else 1), memory_mib (of each GPU; empty: whole GPUs)
openb   the pod list of the cluster-trace-gpu-v2023 of github.com/alibaba/clusterdata: num_gpu,
        gpu_milli (thousandths of one GPU), creation_time, scheduled_time, deletion_time

A share of a GPU is taken as that share of the memory of a card.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.sim.trace import Task, Trace, in_order, told

_NEEDS = {
    "simple": ("submit_s", "runtime_s"),
    "openb": ("num_gpu", "gpu_milli", "creation_time", "deletion_time"),
}
FORMATS = ("auto", *_NEEDS)

_MOST = 1e12  # seconds, MiB: beyond, it is no number of either

#: Why a row gives no job.
Left = str


class _Line:
    """A row, and where it stands."""

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
        if not 0 <= value <= _MOST:
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

    def wrong(self, what: str) -> UsageError:
        return UsageError(f"{self._where}: {what}")


def read(lines: Iterable[str], name: str, form: str, memory_mib: int) -> Trace:
    """The trace in these lines.

    Args:
        name: of the file, for errors.
        form: one of `FORMATS`; `auto` tells by the columns.
        memory_mib: of a card, for shares.

    Raises:
        UsageError: naming the line, if the lines are no such trace.
    """
    reader = csv.DictReader(lines, strict=True)
    tasks: list[Task] = []
    left_out: Counter[str] = Counter()
    try:
        task_of = _READERS[_form(reader, name, form)]
        for row in reader:
            one = task_of(_line(row, f"{name}, line {reader.line_num}"), memory_mib)
            if isinstance(one, str):
                left_out[one] += 1
            else:
                tasks.append(one)
    except csv.Error as error:
        raise UsageError(f"{name}, after line {reader.line_num}: not CSV ({error})") from None
    if not tasks:
        raise UsageError(f"{name}: has no job to simulate{told(left_out)}")
    return Trace(in_order(tasks), left_out)


def _line(row: dict[str, str], where: str) -> _Line:
    if None in row:  # where csv puts what is too much
        raise UsageError(f"{where}: has more values than there are columns")
    return _Line(where, row)


def _form(reader: csv.DictReader[str], name: str, form: str) -> str:
    """Which form the columns are of, all its columns being there."""
    while reader.fieldnames == []:  # a blank line before the first
        reader.fieldnames = None
    columns = [column.strip() for column in reader.fieldnames or ()]
    reader.fieldnames = columns
    if form == "auto":
        form = "openb" if "creation_time" in columns else "simple"
    missing = [column for column in _NEEDS[form] if column not in columns]
    if missing:
        raise UsageError(
            f"{name}: the first line names no column {' or '.join(missing)}; expected "
            f"{', '.join(_NEEDS[form])} (format {form}), got {', '.join(columns) or 'nothing'}"
        )
    return form


def _simple(line: _Line, _memory_mib: int) -> Task | Left:
    gpus = line.whole("gpus", 1)
    if gpus < 1:
        return "needs no GPU"
    memory_mib = line.whole("memory_mib", 0) or None
    return Task(line.number("submit_s"), line.number("runtime_s"), gpus, memory_mib)


def _openb(line: _Line, memory_mib: int) -> Task | Left:
    gpus, milli = line.whole("num_gpu"), line.whole("gpu_milli", 0)
    if gpus < 1:
        return "needs no GPU"
    if milli > 1000:
        raise line.wrong(f"gpu_milli is {milli}, but of one GPU there are 1000")
    submit_s, end_s = line.number("creation_time"), line.number("deletion_time")
    if line.text("scheduled_time") == "":
        return "never ran"
    begin_s = line.number("scheduled_time")
    if end_s < begin_s:
        raise line.wrong(f"deletion_time {end_s:g} is before scheduled_time {begin_s:g}")
    share = None if gpus > 1 or milli in (0, 1000) else math.ceil(milli * memory_mib / 1000)
    return Task(submit_s, end_s - begin_s, gpus, share)


_READERS: dict[str, Callable[[_Line, int], Task | Left]] = {"simple": _simple, "openb": _openb}
