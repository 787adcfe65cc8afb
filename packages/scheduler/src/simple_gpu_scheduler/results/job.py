"""One job: how it ended, its parameters, its metrics, and its built-in columns."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypeVar

from simple_gpu_scheduler.results.parsing import (
    Value,
    is_number,
    json_object,
    parse_metrics,
    parse_parameters,
)

State: TypeAlias = Literal["ok", "failed", "ended early", "running", "lost"]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Record:
    """What the scheduler wrote about a job: its command at the start, the rest at the end."""

    command: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    aborted: bool = False  #: by a signal to the scheduler or --halt: neither success nor failure
    attempt: int = 1
    gpus: tuple[str, ...] = ()
    started: float | None = None
    ended: float | None = None
    runtime_s: float | None = None
    user_s: float | None = None
    system_s: float | None = None
    max_rss_mib: float | None = None


@dataclass(frozen=True, slots=True)
class JobResult:
    """One job: how it ended, its parameters, and the metrics that it printed."""

    seq: int
    state: State
    status: str
    record: Record = field(default_factory=Record)
    parameters: Mapping[str, Value] = field(default_factory=dict)
    metrics: Mapping[str, Value] = field(default_factory=dict)

    def value(self, name: str) -> Value:
        """Return the built-in column, else the metric, else the parameter of that name."""
        if name in BUILT_IN:
            return BUILT_IN[name](self)
        return self.metrics[name] if name in self.metrics else self.parameters.get(name)


def _cpu_seconds(job: JobResult) -> float | None:
    user, system = job.record.user_s, job.record.system_s
    return None if user is None or system is None else round(user + system, 6)


BUILT_IN: dict[str, Callable[[JobResult], Value]] = {
    "job": lambda job: job.seq,
    "runtime": lambda job: job.record.runtime_s,
    "cpu": _cpu_seconds,
    "memory": lambda job: job.record.max_rss_mib,
    "gpu": lambda job: ",".join(job.record.gpus) or None,
    "attempt": lambda job: job.record.attempt,
    "status": lambda job: job.status,
    "command": lambda job: job.record.command,
}


def parse_job(seq: int, record: str | None, output: str, command: str | None = None) -> JobResult:
    """Read a job from its files.

    Args:
        seq: its number.
        record: the text of its result.json; None: there is none, so the job runs.
        output: the end of its stdout.
        command: the text of its command file, for a job that runs.
    """
    metrics = parse_metrics(output)
    if record is None:
        parameters = parse_parameters(command or "")
        return JobResult(seq, "running", "running", Record(command), parameters, metrics)
    parsed = parse_record(record)
    if parsed is None:
        return JobResult(seq, "failed", "broken result.json", metrics=metrics)
    ended = _ended(parsed)
    state: State = "ok" if ended == "ok" else "ended early" if parsed.aborted else "failed"
    status = ended if parsed.attempt <= 1 else f"{ended}, attempt {parsed.attempt}"
    parameters = parse_parameters(parsed.command or "")
    return JobResult(seq, state, status, parsed, parameters, metrics)


def parse_record(text: str) -> Record | None:
    """Read a result.json; None where the text is not a JSON object."""
    data = json_object(text)
    if data is None:
        return None
    gpus = data.get("gpus")
    return Record(
        command=_typed(data.get("command"), str),
        exit_code=_typed(data.get("exit_code"), int),
        signal=_typed(data.get("signal"), int),
        timed_out=data.get("timed_out") is True,
        aborted=data.get("aborted") is True,
        attempt=_typed(data.get("attempt"), int) or 1,
        gpus=tuple(g for g in gpus if isinstance(g, str)) if isinstance(gpus, list) else (),
        started=_real(data.get("started")),
        ended=_real(data.get("ended")),
        runtime_s=_real(data.get("runtime_s")),
        user_s=_real(data.get("user_s")),
        system_s=_real(data.get("system_s")),
        max_rss_mib=_real(data.get("max_rss_mib")),
    )


def _typed(value: object, kind: type[_T]) -> _T | None:
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def _real(value: object) -> float | None:
    if not is_number(value):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _ended(record: Record) -> str:
    if record.timed_out:
        return "timed out"
    if record.aborted:
        return "ended early"
    if record.signal is not None:
        return f"killed ({_signal_name(record.signal)})"
    if record.exit_code is None:
        return "unknown"
    return f"exit {record.exit_code}" if record.exit_code else "ok"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
