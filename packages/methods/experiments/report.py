"""RESULTS.md: what the experiments printed, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from common import Experiment, Row, Rows, Verdict

HEAD = """# Results

Written by `make results`: each experiment's sweep goes through `simple_hypersearch … |
simple_gpu_scheduler`, and what the runs printed is below. Every number is the mean over the seeds
± the standard deviation between them. Nobody edits this file, and nothing is left out because it
did not work.
"""


def report(experiments: Sequence[Experiment], rows: Mapping[str, Rows], figures: Path) -> str:
    """The whole text; figures are drawn into a folder beside it.

    Args:
        rows: what each experiment printed, by name; nothing for one that never ran.
    """
    worked = {
        name: [row for row in all_rows if "failed" not in row] for name, all_rows in rows.items()
    }
    failed = {name: len(all_rows) - len(worked[name]) for name, all_rows in rows.items()}
    verdicts = {one.name: _verdict(one, worked[one.name], failed[one.name]) for one in experiments}
    parts = [HEAD, _summary(experiments, verdicts)]
    parts += [_section(one, worked[one.name], verdicts[one.name], figures) for one in experiments]
    return "\n".join(parts)


def _verdict(experiment: Experiment, rows: Rows, failed: int) -> str:
    if failed:
        return f"**failed**. {failed} runs ended with an error"
    if not rows:
        return "**not run**"
    verdict: Verdict = experiment.judge(rows)
    return f"**{verdict.what}**. {verdict.why}"


def _summary(experiments: Sequence[Experiment], verdicts: Mapping[str, str]) -> str:
    lines = [
        f"| {one.method} | {one.claim} | {verdicts[one.name].partition('.')[0]} |"
        for one in experiments
    ]
    return "\n".join(["| method | claim | verdict |", "|---|---|---|", *lines, ""])


def _section(experiment: Experiment, rows: Rows, verdict: str, figures: Path) -> str:
    seeds = sorted({row["seed"] for row in rows})
    lines = [
        f"## {experiment.method}",
        "",
        f"- Claim: {experiment.claim}",
        f"- Data: {experiment.data}",
        f"- Setting: {experiment.setting}",
        f"- Seeds: {len(seeds)}{_where(rows)}",
        f"- Verdict: {verdict}",
        "",
        *table(rows, experiment.by, experiment.metrics),
        "",
    ]
    if experiment.figure is not None and rows:
        figures.mkdir(exist_ok=True)
        experiment.figure(rows, figures / f"{experiment.name}.png")
        lines += [f"![{experiment.name}]({figures.name}/{experiment.name}.png)", ""]
    return "\n".join(lines)


def _where(rows: Rows) -> str:
    """What the runs ran with."""
    kinds = sorted({f"torch {row['torch']} on {row['device']}" for row in rows})
    runs = {row["run"]: row["elapsed_s"] for row in rows}  # the last row of each
    return f"; {', '.join(kinds)}; {sum(runs.values()):.0f} s of runs in all" if rows else ""


def table(rows: Rows, by: Sequence[str], metrics: Mapping[str, str]) -> list[str]:
    """Mean and standard deviation of each metric for each combination of `by`."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in by), []).append(row)
    lines = [f"| {' | '.join([*by, *metrics])} |", "|" + "---|" * (len(by) + len(metrics))]
    for key, group in groups.items():
        if not any(row.get(name) is not None for row in group for name in metrics):
            continue  # for the figure only
        cells = [_cell(group, name, how) for name, how in metrics.items()]
        lines.append(f"| {' | '.join([*map(str, key), *cells])} |")
    return lines


def _cell(rows: Rows, metric: str, how: str) -> str:
    values = [row[metric] for row in rows if row.get(metric) is not None]
    if not values:
        return ""
    if len(values) == 1:
        return format(values[0], how)
    return f"{format(statistics.fmean(values), how)} ± {format(statistics.stdev(values), how)}"
