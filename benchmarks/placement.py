"""How the policies compare on traces: regenerates benchmarks/PLACEMENT.md.

    python benchmarks/placement.py [--trace openb_pod_list_default.csv] [--out FILE]

Without a trace, on drawn jobs alone. The trace is that of github.com/alibaba/clusterdata,
cluster-trace-gpu-v2023 (Weng et al., USENIX ATC 2023); it is not part of this repository.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from simple_gpu_scheduler.model import Card
from simple_gpu_scheduler.policy.orders import ORDERS, PACKING_ORDER
from simple_gpu_scheduler.sim import csv_trace, synthetic, trace
from simple_gpu_scheduler.sim.metrics import Metrics, measure, starved_after_s
from simple_gpu_scheduler.sim.simulate import EXCLUSIVE, simulate
from simple_gpu_scheduler.sim.trace import Task

GPUS = 8
MEMORY_MIB = 80 * 1024
JOBS = 1000
SEEDS = 5
LOADS = (1.5, math.inf)
LONGEST_S = 86400.0  # beyond are services, some of half a year: no batch jobs for one machine
NAMES = (EXCLUSIVE, *ORDERS)

#: Waiting of less than this part of the baseline's is none.
EQUAL = 0.01


class Case(NamedTuple):
    """Traces of one kind, whose results are averaged."""

    name: str
    traces: list[tuple[Task, ...]]


class Result(NamedTuple):
    """Means over the traces of a case."""

    makespan_h: float
    wait_h: float
    p95_h: float
    max_h: float
    idle_gpu_h: float
    packing: float
    beyond: int  #: sums over the traces
    starved: int


def drawn() -> Iterator[Case]:
    for name, mix in synthetic.MIXES.items():
        seeds = [synthetic.synthetic(JOBS, MEMORY_MIB, mix, seed) for seed in range(SEEDS)]
        for load in LOADS:
            traces = [trace.with_load(tasks, GPUS, load) for tasks in seeds]
            yield Case(f"drawn, {name}, {_submitted(load)}", traces)


def recorded(path: str) -> Iterator[Case]:
    with open(path, encoding="utf-8-sig", newline="") as lines:
        found = csv_trace.read(lines, path, "openb", MEMORY_MIB)
    batch = trace.up_to(found, LONGEST_S).tasks
    sharing = tuple(task for task in batch if task.memory_mib is not None)
    for name, tasks in (("openb, all", batch), ("openb, jobs that share", sharing)):
        for load in LOADS:
            yield Case(
                f"{name}, {_submitted(load)}",
                [trace.with_load(piece, GPUS, load) for piece in _pieces(tasks)],
            )


def _pieces(tasks: Sequence[Task]) -> list[tuple[Task, ...]]:
    return [
        trace.in_order(tasks[first : first + JOBS])
        for first in range(0, len(tasks) - JOBS // 2, JOBS)
    ]


def _submitted(load: float) -> str:
    return "all at once" if math.isinf(load) else f"load {load:g}"


def results(case: Case, *, runtimes_known: bool) -> dict[str, Result]:
    found = [_of_one(tasks, runtimes_known) for tasks in case.traces]
    return {name: _mean([one[name] for one in found]) for name in NAMES}


def _of_one(tasks: Sequence[Task], runtimes_known: bool) -> dict[str, tuple[Metrics, int]]:
    cards = [Card(str(n), memory_mib=MEMORY_MIB) for n in range(GPUS)]
    ran = {name: simulate(tasks, cards, name, runtimes_known=runtimes_known) for name in NAMES}
    longest_s = max(one.wait_s for one in ran[EXCLUSIVE])
    bound_s = starved_after_s(ran[EXCLUSIVE])
    return {
        name: (
            measure(name, jobs, GPUS, MEMORY_MIB, bound_s),
            sum(one.wait_s > longest_s for one in jobs),
        )
        for name, jobs in ran.items()
    }


def _mean(both: Sequence[tuple[Metrics, int]]) -> Result:
    found = [one for one, _ in both]

    def mean(values: list[float]) -> float:
        return math.fsum(values) / len(values)

    return Result(
        mean([one.makespan_s / 3600 for one in found]),
        mean([one.mean_wait_s / 3600 for one in found]),
        mean([one.p95_wait_s / 3600 for one in found]),
        mean([one.max_wait_s / 3600 for one in found]),
        mean([one.idle_gpu_h for one in found]),
        mean([one.packing for one in found]),
        sum(beyond for _, beyond in both),
        sum(one.starved for one in found),
    )


def floor_h(case: Case) -> float:
    """When the last job ends at best: all that is asked for takes so long, or that one job."""
    floors = [
        max(
            math.fsum(
                (task.memory_mib or MEMORY_MIB) / MEMORY_MIB * task.gpus * task.runtime_s
                for task in tasks
            )
            / GPUS,
            max(task.submit_s + task.runtime_s for task in tasks),
        )
        for tasks in case.traces
    ]
    return math.fsum(floors) / len(floors) / 3600


def table(case: Case, found: dict[str, Result]) -> list[str]:
    base = found[EXCLUSIVE]
    lines = [
        f"### {case.name}",
        "",
        f"{len(case.traces)} traces; no policy could end before {floor_h(case):,.1f} h.",
        "",
        "| policy | makespan h | of baseline | mean wait h | of baseline | p95 wait h "
        "| max wait h | idle GPU-h | packing | beyond | starved |",
        "| :--- |" + " ---: |" * 10,
    ]
    for name, one in found.items():
        shown = f"**{name}**" if name == PACKING_ORDER else name
        lines.append(
            f"| {shown} | {one.makespan_h:,.1f} | {one.makespan_h / base.makespan_h:.2f} "
            f"| {one.wait_h:,.2f} | {one.wait_h / base.wait_h:.3f} | {one.p95_h:,.2f} "
            f"| {one.max_h:,.2f} | {one.idle_gpu_h:,.0f} | {one.packing:.0%} | {one.beyond} "
            f"| {one.starved} |"
        )
    return [*lines, ""]


def behind_best(found: dict[str, Result], name: str) -> tuple[float, float]:
    """By what part a policy's makespan and mean waiting are above the best policy's."""
    base, own = found[EXCLUSIVE], found[name]
    best_makespan_h = min(one.makespan_h for one in found.values())
    best_wait_h = max(min(one.wait_h for one in found.values()), EQUAL * base.wait_h)
    return own.makespan_h / best_makespan_h - 1, max(0.0, own.wait_h / best_wait_h - 1)


def summary(all_found: dict[str, dict[str, Result]]) -> list[str]:
    lines = [
        "| policy | makespan of baseline, mean (worst) | mean wait of baseline, mean (worst) "
        "| makespan above the best, worst | wait above the best, worst | beyond | starved |",
        "| :--- |" + " ---: |" * 6,
    ]
    for name in NAMES:
        spans = [f[name].makespan_h / f[EXCLUSIVE].makespan_h for f in all_found.values()]
        waits = [f[name].wait_h / f[EXCLUSIVE].wait_h for f in all_found.values()]
        behind = [behind_best(f, name) for f in all_found.values()]
        beyond = sum(f[name].beyond for f in all_found.values())
        starved = sum(f[name].starved for f in all_found.values())
        shown = f"**{name}**" if name == PACKING_ORDER else name
        lines.append(
            f"| {shown} | {_mean_worst(spans)} | {_mean_worst(waits)} "
            f"| {max(b[0] for b in behind):.0%} | {max(b[1] for b in behind):.0%} "
            f"| {beyond} | {starved} |"
        )
    return [*lines, ""]


def _mean_worst(values: list[float]) -> str:
    return f"{math.fsum(values) / len(values):.2f} ({max(values):.2f})"


HEAD = f"""\
# Placement: policies compared by simulation

Written by `python benchmarks/placement.py --trace FILE`; the plans are those of the scheduler,
the clock is virtual. {GPUS} GPUs of {MEMORY_MIB // 1024} GiB; each trace has {JOBS} jobs. *Drawn*
jobs: Poisson arrivals, lognormal runtimes, means of {SEEDS} seeds. *openb*: consecutive pieces of
the production trace cluster-trace-gpu-v2023 (Weng et al., USENIX ATC 2023), without the jobs that
run longer than a day; `gpu_milli` is taken as a share of a card's memory. *Load* is the GPU time
asked for, with whole GPUs, over the GPU time there is while jobs are submitted.

The baseline is {EXCLUSIVE}: whole GPUs, first come, first served. *Beyond* are jobs that wait
longer than any does under the baseline; a job is *starved* if it does so by more than the longest
job runs (both are sums over the traces). *Idle* are GPUs that nothing runs on while a job waits.
*Packing* is the mean part of a GPU in use that its jobs asked for. Where the best policy's wait is
less than 1 % of the baseline's, the others are compared with that 1 %. Jobs that share a GPU are
taken to run as long as alone, which real ones need not: where they slow each other down, all
policies but the baseline gain less than is shown here.

In bold: the order chosen for jobs that say how much memory they need. The GPUs that it keeps for
the first job that waits stand idle where runtimes aren't known. On *openb, all*, that is most of
what is lost: whole-GPU jobs take most of the time, and some need all 8 GPUs of the machine. How
long those wait is partly luck: small changes of the order (such as how far behind the first job
another may be taken from) move the longest wait of a trace by a tenth either way.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trace", metavar="FILE", help="openb_pod_list_default.csv")
    parser.add_argument("--out", metavar="FILE", default="benchmarks/PLACEMENT.md")
    args = parser.parse_args()
    cases = [*drawn(), *(recorded(args.trace) if args.trace else ())]
    lines = [HEAD]
    for known, title in ((False, "Runtimes not known"), (True, "Runtimes known")):
        all_found = {case.name: results(case, runtimes_known=known) for case in cases}
        shared = {name: f for name, f in all_found.items() if "whole" not in name}
        lines += [f"## {title}", "", "All kinds of traces below with jobs that share:", ""]
        lines += summary(shared)
        for case in cases:
            lines += table(case, all_found[case.name])
    Path(args.out).write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
