"""Turn the results of a batch of jobs into a table, best first. Pure: text in, text out.

A job's metrics are, by one rule: the last line of its output that is a JSON object; where no
line is one, the `name=number` and `name: number` in its last 4 KiB, the last of each name.
Its parameters are the `--name value`, `--name=value` and `name=value` of its command.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeGuard, TypeVar

from .errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

State: TypeAlias = Literal["ok", "failed", "running"]
Scalar: TypeAlias = str | int | float | bool | None
Value: TypeAlias = Scalar | list[Scalar]
_T = TypeVar("_T")

MAX_COMMAND = 8192  # characters of a command that are searched for parameters
MAX_PAIRS = 4096  # characters at the end of an output that are searched for name=number
MAX_DEPTH = 4  # of objects inside the JSON object that are opened as `outer.inner`
MAX_TEXT = 40  # widest cell of text
MIN_TEXT = 12  # and where the terminal is too narrow for that

# Words of a metric's name, the likeliest metric first. Each list fills its lines.
# fmt: off
_HIGHER = (
    "accuracy", "acc", "top1", "top5", "auc", "auroc", "auprc", "f1", "ap", "miou", "iou", "dice",
    "mcc", "r2", "bleu", "rouge", "psnr", "ssim", "reward", "return", "score",
)
_LOWER = (
    "loss", "nll", "perplexity", "ppl", "error", "err", "mse", "rmse", "mae", "mape", "wer", "cer",
    "fid", "bpb", "bpc", "bpd", "regret", "cost",
)
_NOT_A_METRIC = frozenset((
    "weight", "weights", "coef", "coefficient", "scale", "scaling", "factor", "smoothing", "fn",
    "function", "threshold",
))
_SMALL_IS_GOOD = frozenset((
    "runtime", "cpu", "memory", "job", "attempt", "seconds", "time", "latency",
))
# fmt: on
_KINDS = {word: (i, word in _HIGHER) for i, word in enumerate((*_HIGHER, *_LOWER))}
# Which data a metric was measured on, the best to judge by first; 2 is none given.
_SPLITS = {"val": 0, "valid": 0, "validation": 0, "dev": 0, "eval": 0, "test": 1}
_SPLITS |= {"train": 3, "training": 3}

_NUMBER = (
    r"[+-]?(?:(?:[0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,5})?"
    r"|[nN][aA][nN]|[iI][nN][fF](?:[iI][nN][iI][tT][yY])?)"
)
_NUMBER_ALONE = re.compile(_NUMBER)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
# A whole name, `=` or `: `, and a number that ends where the word does. Every repetition is
# bounded, so that no output takes long.
_PAIR = re.compile(
    r"(?<![\w./@-])([^\W\d][\w./@-]{0,63})[\"']?[ \t]{0,8}(?:=|:(?=[ \t]))[ \t]{0,8}"
    rf"({_NUMBER})(?=[\s,;:|%)\]}}\"']|\.?(?:\s|\Z))"
)
_ASSIGNMENT = re.compile(r"-{0,2}[+~]{0,2}([^\W\d][\w./-]{0,63})=(.*)", re.DOTALL)
_LONG_OPTION = re.compile(r"--([^\W\d][\w.-]{0,63})")
_SHORT_OPTION = re.compile(r"-([A-Za-z])")
_SHELL_OPERATOR = re.compile(r"[|&;<>()]|\d+[<>]")


@dataclass(frozen=True, slots=True)
class Record:
    """What the scheduler wrote about a job when it ended (result.json)."""

    command: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    timed_out: bool = False
    attempt: int = 1
    gpus: tuple[str, ...] = ()
    started: float | None = None
    ended: float | None = None
    runtime_s: float | None = None
    user_s: float | None = None
    system_s: float | None = None
    max_rss_mib: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One job: how it ended, what was asked of it and what it printed."""

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


@dataclass(frozen=True, slots=True)
class Sort:
    """By what the jobs are ranked; `guessed` if the user did not say."""

    metric: str
    descending: bool
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table: its cells, and how it gives way on a narrow terminal."""

    name: str
    cells: Sequence[str]
    right: bool = True
    weight: int = 0  # 0 stays; otherwise the heaviest are left out first


def _cpu_seconds(job: Job) -> float | None:
    user, system = job.record.user_s, job.record.system_s
    return None if user is None or system is None else round(user + system, 6)


BUILT_IN: dict[str, Callable[[Job], Value]] = {
    "job": lambda job: job.seq,
    "runtime": lambda job: job.record.runtime_s,
    "cpu": _cpu_seconds,
    "memory": lambda job: job.record.max_rss_mib,
    "gpu": lambda job: ",".join(job.record.gpus) or None,
    "attempt": lambda job: job.record.attempt,
    "status": lambda job: job.status,
    "command": lambda job: job.record.command,
}


# --- Reading a job ---------------------------------------------------------------------------


def parse_job(seq: int, record: str | None, output: str) -> Job:
    """Read a job from the text of its result.json, if it has one yet, and its output's end."""
    metrics = parse_metrics(output)
    if record is None:
        return Job(seq, "running", "running", metrics=metrics)
    parsed = parse_record(record)
    if parsed is None:
        return Job(seq, "failed", "broken result.json", metrics=metrics)
    ok = parsed.exit_code == 0 and parsed.signal is None and not parsed.timed_out
    status = _status(parsed)
    if parsed.attempt > 1:
        status += f", attempt {parsed.attempt}"
    parameters = parse_parameters(parsed.command or "")
    return Job(seq, "ok" if ok else "failed", status, parsed, parameters, metrics)


def parse_record(text: str) -> Record | None:
    """Read a result.json; None where the text is not a JSON object."""
    data = _json_object(text)
    if data is None:
        return None
    gpus = data.get("gpus")
    return Record(
        command=_typed(data.get("command"), str),
        exit_code=_typed(data.get("exit_code"), int),
        signal=_typed(data.get("signal"), int),
        timed_out=data.get("timed_out") is True,
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


def _status(record: Record) -> str:
    if record.timed_out:
        return "timed out"
    if record.signal is not None:
        import signal

        try:
            return f"killed ({signal.Signals(record.signal).name})"
        except ValueError:
            return f"killed (signal {record.signal})"
    if record.exit_code is None:
        return "unknown"
    return f"exit {record.exit_code}" if record.exit_code else "ok"


def parse_metrics(output: str) -> dict[str, Value]:
    """Return what a job printed: its last JSON object, else its `name=number` pairs."""
    data = _last_json_object(output)
    if data is not None:
        return dict(_flatten(data, "", MAX_DEPTH))
    end = output[-MAX_PAIRS:]
    return {name: _number(text) for name, text in dict(_PAIR.findall(end)).items()}


def has_json_line(output: str) -> bool:
    """True if a line of the output is a JSON object."""
    return _last_json_object(output) is not None


def _last_json_object(output: str) -> dict[str, Any] | None:
    if "{" not in output:
        return None
    for line in reversed(re.split(r"[\r\n]+", output)):
        stripped = line.strip()
        if stripped.startswith("{") and stripped.endswith("}"):
            data = _json_object(stripped)
            if data is not None:
                return data
    return None


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):  # not JSON; thousands of digits or of brackets
        return None
    return data if isinstance(data, dict) else None


def _flatten(data: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Value]]:
    for key, value in data.items():
        if isinstance(value, dict):
            if depth > 1:
                yield from _flatten(value, f"{prefix}{key}.", depth - 1)
            continue
        items = value if isinstance(value, list) else ()
        if not any(isinstance(item, (dict, list)) for item in items):
            yield prefix + key, value


def _number(text: str) -> int | float:
    return int(text) if _INTEGER.fullmatch(text) else float(text)


def parse_parameters(command: str) -> dict[str, Value]:
    """Return the parameters that a command's words name; dashes in names become underscores."""
    words = _words(command[:MAX_COMMAND])
    found: dict[str, Value] = {}
    for i, word in enumerate(words):
        if word.startswith("#"):  # a comment, as the scheduler's directives are
            break
        following = words[i + 1] if i + 1 < len(words) else ""
        if match := _ASSIGNMENT.fullmatch(word):
            found[_parameter_name(match[1])] = _parameter(match[2])
        elif match := _LONG_OPTION.fullmatch(word):
            found[_parameter_name(match[1])] = (
                _parameter(following) if _is_argument(following) else True
            )
        elif (match := _SHORT_OPTION.fullmatch(word)) and _NUMBER_ALONE.fullmatch(following):
            found[match[1]] = _number(following)
    return found


def _words(command: str) -> list[str]:
    if "'" in command or '"' in command or "\\" in command:
        import shlex

        try:
            return shlex.split(command)
        except ValueError:  # a quote that is not closed
            pass
    return command.split()


def _is_argument(word: str) -> bool:
    if not word or word.startswith("#") or _SHELL_OPERATOR.match(word):
        return False
    return not word.startswith("-") or _NUMBER_ALONE.fullmatch(word) is not None


def _parameter_name(name: str) -> str:
    return name.replace("-", "_")


def _parameter(text: str) -> Scalar:
    text = text.rstrip(";")
    return _number(text) if _NUMBER_ALONE.fullmatch(text) else text


# --- Ranking ---------------------------------------------------------------------------------


def is_number(value: object) -> TypeGuard[int | float]:
    """True of numbers that have a place in an order: not NaN, not infinite."""
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def metric_names(jobs: Iterable[Job]) -> list[str]:
    """Return the names that jobs can be ranked by: those with a number in some job."""
    jobs = list(jobs)
    names: dict[str, None] = {}
    for values in (*(job.metrics for job in jobs), *(job.parameters for job in jobs)):
        names.update((name, None) for name, value in values.items() if is_number(value))
    for name in BUILT_IN:
        if any(is_number(job.value(name)) for job in jobs):
            names.setdefault(name)
    return list(names)


def choose_sort(jobs: Sequence[Job], metric: str | None, descending: bool | None) -> Sort | None:
    """Return the order asked for, or guess one; None if no job printed a known metric."""
    if metric is None:
        guess = guess_metric(jobs)
        if guess is None or descending is None:
            return guess
        return Sort(guess.metric, descending, guessed=True)
    known = metric_names(jobs)
    if metric not in known:
        raise UsageError(unknown_name("metric", metric, known))
    if descending is None:
        descending = _higher_is_better(metric, jobs)
    return Sort(metric, descending)


def guess_metric(jobs: Iterable[Job]) -> Sort | None:
    """Choose by name: validation before test, and accuracy and its like before the losses."""
    best: tuple[int, int, int, str] | None = None
    for job in jobs:
        for name, value in job.metrics.items():
            if job.state != "ok" or name in job.parameters or not is_number(value):
                continue
            kind = _kind(name)
            if kind is not None:
                candidate = (_split(name), kind[0], len(name), name)
                best = candidate if best is None else min(best, candidate)
    if best is None:
        return None
    kind = _kind(best[3])
    return Sort(best[3], descending=kind is not None and kind[1], guessed=True)


def _words_of(name: str) -> list[str]:
    return re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name[:200]).lower())


def _split(name: str) -> int:
    """Return the place of the data that a metric's name says it was measured on."""
    return min((_SPLITS[word] for word in _words_of(name) if word in _SPLITS), default=2)


def _kind(name: str) -> tuple[int, bool] | None:
    """Return the place of a metric's name among the known ones, and if higher is better."""
    words = _words_of(name)
    kinds = [_KINDS[word] for word in words if word in _KINDS]
    if not kinds or not _NOT_A_METRIC.isdisjoint(words):
        return None
    place, higher = min(kinds)
    return place, higher != ("neg" in words)  # scikit-learn's neg_log_loss


def _higher_is_better(name: str, jobs: Iterable[Job]) -> bool:
    kind = _kind(name)
    if kind is not None:
        return kind[1]
    if not _SMALL_IS_GOOD.isdisjoint(_words_of(name)):
        return False
    return not any(name in job.parameters for job in jobs)


def order(jobs: Iterable[Job], sort: Sort | None) -> list[Job]:
    """Sort the jobs: the successful, best first, then the failed, then the running.

    A job without the metric, or with NaN, an infinity or null for it, comes after those that
    have a number; equals are in the order of their job numbers.
    """

    def key(job: Job) -> tuple[int, bool, int | float, int]:
        group = ("ok", "failed", "running").index(job.state)
        value = job.value(sort.metric) if sort and group == 0 else None
        if not is_number(value):
            return group, True, 0, job.seq
        return group, False, -value if sort and sort.descending else value, job.seq

    return sorted(jobs, key=key)


def is_ranked(job: Job, sort: Sort | None) -> bool:
    """True if the job has a place in the order, and so a rank."""
    return sort is not None and job.state == "ok" and is_number(job.value(sort.metric))


def unknown_name(what: str, name: str, known: Sequence[str]) -> str:
    """Say that a name is not known, which are, and which was probably meant."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {printable(close[0])}? Known" if close else "known"
    listed = ", ".join(printable(k) for k in known) or "none"
    return f"unknown {what} {printable(name)}; {hint}: {listed}"


# --- The table -------------------------------------------------------------------------------


def columns_by_default(
    jobs: Sequence[Job], sort: Sort | None
) -> tuple[list[str], dict[str, Value]]:
    """Return the columns worth showing, and what they leave out: the values all jobs share."""
    finished = [job for job in jobs if job.state == "ok"] or jobs
    parameters = dict.fromkeys(name for job in jobs for name in job.parameters)
    printed = dict.fromkeys(name for job in jobs for name in job.metrics)
    by = [sort.metric] if sort else []
    shown: list[str] = []
    shared: dict[str, Value] = {}
    for name in dict.fromkeys((*parameters, *by, *printed)):
        if name in BUILT_IN or name == "rank" or _is_list(name, finished):
            continue
        if name not in by and _is_shared(name, jobs, finished):
            shared[name] = finished[0].value(name)
        else:
            shown.append(name)
    columns = dict.fromkeys(("job", *shown, *by, "runtime", "gpu", "status"))
    return ["rank", *columns] if sort else list(columns), shared


def _is_list(name: str, jobs: Sequence[Job]) -> bool:
    """True of a curve or the like, which a table has no room for; `--json` has it."""
    return any(isinstance(job.value(name), list) for job in jobs)


def _is_shared(name: str, jobs: Sequence[Job], finished: Sequence[Job]) -> bool:
    if len(finished) < 2 or not all(_has(job, name) for job in finished):
        return False
    return len({repr(job.value(name)) for job in jobs if _has(job, name)}) == 1


def _has(job: Job, name: str) -> bool:
    return name in job.metrics or name in job.parameters


def column_names(jobs: Sequence[Job]) -> list[str]:
    """Return every name that can be a column."""
    names = dict.fromkeys(("rank", *BUILT_IN))
    for values in (*(job.parameters for job in jobs), *(job.metrics for job in jobs)):
        names.update(dict.fromkeys(values))
    return list(names)


def make_columns(
    jobs: Sequence[Job], names: Sequence[str], sort: Sort | None, max_text: int | None = MAX_TEXT
) -> list[Column]:
    """Format the columns of these names; `rank` is the place by the metric."""
    parameters = {name for job in jobs for name in job.parameters}
    columns = []
    for i, name in enumerate(names):
        if name == "rank":
            cells = [str(i + 1) if is_ranked(job, sort) else "-" for i, job in enumerate(jobs)]
            columns.append(Column(name, cells))
            continue
        values = [job.value(name) for job in jobs]
        right = not any(isinstance(value, (str, list)) for value in values) or name == "gpu"
        if (sort and name == sort.metric) or name in ("job", "status"):
            weight = 0
        elif name in BUILT_IN:
            weight = 500
        else:  # parameters stay longest, then validation, test and training metrics
            weight = i + (10 if name in parameters else 1000 * (1 + _split(name)))
        cells = _cells(name, values)
        if max_text is not None:
            cells = [crop(cell, max_text) for cell in cells]
        columns.append(Column(name, cells, right, weight))
    return columns


def _cells(name: str, values: Sequence[Value]) -> list[str]:
    if name == "runtime":
        return [duration(v) if is_number(v) else format_value(v) for v in values]
    short = all(len(repr(v)) <= 6 for v in values if isinstance(v, float))
    return [format_value(v, short=short) for v in values]


def format_value(value: Value, *, short: bool = True) -> str:
    """Write a value as a cell: numbers whole if `short`, otherwise to four decimals."""
    if value is None or value == "":
        return "-"
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float) and not short and math.isfinite(value):
        return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.3e}"
    if isinstance(value, list):
        return "[" + ",".join(format_value(item) for item in value) + "]"
    return str(value)


def duration(seconds: float) -> str:
    """Write a duration in two units at most."""
    if seconds < 60:
        return f"{seconds:.2f}s" if seconds < 10 else f"{seconds:.1f}s"
    minutes = int(seconds) // 60
    if minutes < 60:
        return f"{minutes}m{int(seconds) % 60:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"


def fit(columns: Sequence[Column], width: int | None) -> tuple[list[Column], list[str]]:
    """Cut text, then leave columns out, until a row fits; return what stays and what went."""
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
    return sum(_column_width(column) + 2 for column in columns) - 2


def _column_width(column: Column) -> int:
    return max(map(text_width, (printable(column.name), *column.cells)))


def _shorten(column: Column, limit: int) -> Column:
    cells = [crop(cell, limit) for cell in column.cells]
    return Column(column.name, cells, column.right, column.weight)


def render(columns: Sequence[Column], width: int | None = None) -> list[str]:
    """Return the lines of the table: the names, then a line for each row."""
    widths = [_column_width(column) for column in columns]
    names = [printable(column.name) for column in columns]
    rows = [names, *map(list, zip(*(column.cells for column in columns), strict=True))]
    lines = []
    for row in rows:
        cells = (
            " " * (w - text_width(cell)) + cell if c.right else cell + " " * (w - text_width(cell))
            for cell, w, c in zip(row, widths, columns, strict=True)
        )
        line = "  ".join(cells).rstrip()
        lines.append(line if width is None else crop(line, width))
    return lines


def notes(
    jobs: Sequence[Job],
    shown: Sequence[Job],
    sort: Sort | None,
    shared: Mapping[str, Value],
    dropped: Sequence[str],
) -> list[str]:
    """Say by what the table is ordered, how the jobs ended and what is left out of it."""
    lines = []
    if sort is None:
        candidates = [name for name in metric_names(jobs) if name not in BUILT_IN]
        if candidates:
            lines.append(
                "In the order of the jobs, because no name is one of a known metric; choose with "
                f"--sort: {', '.join(map(printable, candidates))}."
            )
        else:
            lines.append(
                "In the order of the jobs: none printed a metric (a last line that is a JSON "
                "object, or name=number)."
            )
    else:
        guessed = "; a guess from its name, --sort METRIC changes it" if sort.guessed else ""
        way = "highest" if sort.descending else "lowest"
        lines.append(f"Best first by {printable(sort.metric)} ({way} first{guessed}).")
    states = [job.state for job in jobs]
    counts = f"{len(jobs)} job{'s' * (len(jobs) != 1)}: {states.count('ok')} ok"
    if failed := states.count("failed"):
        counts += f", {failed} failed"
    if running := states.count("running"):
        counts += f", {running} running (no result yet)"
    if len(shown) < len(jobs):
        counts += f"; the best {len(shown)} are shown" if shown else "; none is shown"
    lines.append(counts + ".")
    if shared:
        text = ", ".join(f"{printable(n)}={crop(format_value(v), 40)}" for n, v in shared.items())
        lines.append(f"The same in all jobs: {text}.")
    if dropped:
        names = ", ".join(map(printable, dropped))
        lines.append(f"No room for: {names} (--columns chooses; a pipe gets all).")
    return lines


def failures(jobs: Iterable[Job], last_words: Mapping[int, str]) -> list[str]:
    """Say of each of these failed jobs its command and the last line it wrote to stderr."""
    lines = []
    for job in jobs:
        command = printable(job.record.command) if job.record.command else "command unknown"
        lines.append(f"job {job.seq}, {job.status}: {command}")
        if words := last_words.get(job.seq):
            lines.append(f"    {printable(words)}")
    return lines


def to_json(job: Job, rank: int | None) -> dict[str, Any]:
    """Return a job as an object for `--json`; what is not finite becomes null."""
    record = job.record
    return {
        "rank": rank,
        "job": job.seq,
        "state": job.state,
        "status": job.status,
        "command": record.command,
        "parameters": {name: _finite(value) for name, value in job.parameters.items()},
        "metrics": {name: _finite(value) for name, value in job.metrics.items()},
        "exit_code": record.exit_code,
        "signal": record.signal,
        "timed_out": record.timed_out,
        "attempt": record.attempt,
        "gpus": list(record.gpus),
        "started": _finite(record.started),
        "ended": _finite(record.ended),
        "runtime_s": _finite(record.runtime_s),
        "user_s": _finite(record.user_s),
        "system_s": _finite(record.system_s),
        "max_rss_mib": _finite(record.max_rss_mib),
    }


def _finite(value: Value) -> Value:
    if isinstance(value, list):
        return [None if isinstance(v, float) and not math.isfinite(v) else v for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- Text ------------------------------------------------------------------------------------


def printable(text: str) -> str:
    """Escape what would break a line or steer the terminal: newlines, controls, bidi marks."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def text_width(text: str) -> int:
    """Return the terminal columns that printable text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_character_width, text))


def _character_width(character: str) -> int:
    import unicodedata

    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def crop(text: str, width: int) -> str:
    """Cut printable text to a width, with three dots where something is missing."""
    if text_width(text) <= width:
        return text
    dots = "..." if width > 6 else ""
    room = width - len(dots)
    kept = []
    for character in text:
        room -= _character_width(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + dots
