"""The tables of benchmarks/PLACEMENT.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.sim.metrics import Metrics
from simple_gpu_scheduler.sim.trace import Task

from . import bounds

#: Waiting of less than this part of the baseline's is none.
EQUAL = 0.01

HEAD = """\
# Placement: policies compared by simulation

Written by `python -m benchmarks.placement --trace FILE`; the plans are those of the scheduler, the
clock is virtual. 8 GPUs of {gib} GiB, where the name says no other number. *Drawn* jobs: Poisson
arrivals, lognormal runtimes, 1000 jobs by each of 5 seeds. *openb*: the production trace
cluster-trace-gpu-v2023 (Weng et al., USENIX ATC 2023), without the jobs that run longer than a
day, in one or in consecutive pieces of 1000 jobs; `gpu_milli` is taken as a share of a card's
memory. *Load* is the GPU time asked for, with whole GPUs, over the GPU time there is while jobs
are submitted.

The baseline is {base}: whole GPUs, first come, first served. *Of baseline* is the ratio
of the means, and from the least to the largest ratio of a single trace. Jobs that share a GPU are
taken to run as long as alone, which real ones need not: where they slow each other down, all
policies but the baseline gain less than is shown here.

**{chosen}** is the order chosen for jobs that say how much memory they need. Under it (and
the other two that backfill) {passes} jobs may pass one that can't start, for each GPU that it asks
for; after them, GPUs are kept for it. That number, of 4, 8, 16 and 32, was picked on *openb, seen*
and on drawn jobs of other seeds than these, for 8 GPUs: the largest with which no job was late. Of
the three, this is the one nearest to the best in all the tables below.

To *starve* is to be held up by jobs that came later, without end. Under no policy here can that
be: those that may hold a job up are bounded in number, or there are none. What a trace can show is
a *late* job. Each is held against itself under the baseline, where none ever passes another. It
may start later than there by the longest runtime of the trace: whoever runs when its turn comes
may run so long, and nobody knew. Jobs that start later still are late (summed over the traces).
Where none is, nobody starves; who is late was held up by several that ran long. That comes to pass
where the machine is small and jobs that need all of it are common: *drawn, whole, 4 GPUs*.
"""

WHY = """\
*Bound*: nobody could do better. Packed without a gap, all that is asked for takes so long, or the
last job to come does; and jobs wait at least as long as if they could be cut anywhere and the
smallest went first. *Known*: the same order told all runtimes, which doesn't get there either.

Of *openb*, most GPU time is asked for by jobs that don't share, so sharing alone gains little. And
before a job of all 8 GPUs can start, those that are free stand idle until the last one is. Who
knows runtimes fills that time with jobs that are over by then. Who doesn't can let a few pass:
that puts the idle time off, and such jobs as come to wait together share it. Learning runtimes
was tried too, by quantiles of the ended jobs of the same request, on *openb, seen*. It gained
nothing beyond that, for equal requests run for very different times; the order does without.
"""

LEGEND = """\
*Known* is the chosen order told all runtimes; the best policy that others are held against is one
that isn't told. Where its wait is less than 1 % of the baseline's, it is that 1 %. *Several GPUs*:
mean wait of the jobs that ask for several. *Idle*: GPUs that nothing runs on while a job waits.
*Packing*: the mean part of a GPU in use that its jobs asked for. *Delayed*: jobs that start later
than under the baseline; *longest delay*: in runtimes of the longest job.
"""


class Outcome(NamedTuple):
    """What one policy achieved on one trace."""

    metrics: Metrics
    several_wait_s: float  #: mean, of the jobs of several GPUs
    delayed: float  #: part of the jobs that start later than under the baseline
    longest_delay: float  #: in runtimes of the longest job


class Case(NamedTuple):
    """Traces of one kind, and each policy's outcome on each of them."""

    name: str
    gpus: int
    traces: Sequence[Sequence[Task]]
    found: dict[str, list[Outcome]]


def makespan_h(one: Outcome) -> float:
    return one.metrics.makespan_s / 3600


def wait_h(one: Outcome) -> float:
    return one.metrics.mean_wait_s / 3600


def several_h(one: Outcome) -> float:
    return one.several_wait_s / 3600


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def ratio(own: Sequence[float], base: Sequence[float]) -> float:
    return mean(own) / mean(base) if mean(base) else 1.0


def ratio_and_range(own: Sequence[float], base: Sequence[float]) -> str:
    each = [one / other if other else 1.0 for one, other in zip(own, base, strict=True)]
    return f"{ratio(own, base):.2f} ({min(each):.2f}-{max(each):.2f})"


def grid(head: str, rows: Sequence[str]) -> list[str]:
    return [head, "| :--- |" + " ---: |" * (head.count("|") - 2), *rows, ""]


class Page:
    """The whole document, from the cases."""

    def __init__(self, memory_mib: int, *, base: str, chosen: str, known: str) -> None:
        self._memory_mib = memory_mib
        self._base, self._chosen, self._known = base, chosen, known

    def text(self, cases: Sequence[Case], passes: int) -> str:
        gib = self._memory_mib // 1024
        head = HEAD.format(gib=gib, base=self._base, chosen=self._chosen, passes=passes)
        lines = [head, "## The chosen order", "", *self._chosen_table(cases), WHY]
        lines += [
            "## All policies",
            "",
            LEGEND,
            "Over all kinds of traces below with jobs that share:",
            "",
        ]
        lines += self._all_table([one for one in cases if "whole" not in one.name])
        lines += [line for one in cases for line in self._case_table(one)]
        return "\n".join(lines).rstrip() + "\n"

    # how the chosen order does on each case

    def _chosen_table(self, cases: Sequence[Case]) -> list[str]:
        return grid(
            "| traces | makespan of baseline | known | bound | wait of baseline | known | bound "
            "| wait, several GPUs | late |",
            [self._chosen_row(case) for case in cases],
        )

    def _chosen_row(self, case: Case) -> str:
        cells = [
            self._compared(case, self._chosen, makespan_h),
            f"{self._ratio(case, self._known, makespan_h):.2f}",
            f"{self._end_h(case) / mean(self._of(case, self._base, makespan_h)):.2f}",
            self._compared(case, self._chosen, wait_h),
            f"{self._ratio(case, self._known, wait_h):.2f}",
            f"{self._wait_h(case) / mean(self._of(case, self._base, wait_h)):.2f}",
            self._several(case),
            str(self._late(case, self._chosen)),
        ]
        return f"| {case.name} | {' | '.join(cells)} |"

    def _several(self, case: Case) -> str:
        if not any(self._of(case, self._base, several_h)):
            return "-"
        return f"{self._ratio(case, self._chosen, several_h):.2f}"

    # all policies over all cases

    def _all_table(self, cases: Sequence[Case]) -> list[str]:
        return grid(
            "| policy | makespan of baseline, mean (worst) | wait of baseline, mean (worst) "
            "| makespan above the best, worst | wait above the best, worst | late |",
            [self._all_row(cases, policy) for policy in cases[0].found],
        )

    def _all_row(self, cases: Sequence[Case], policy: str) -> str:
        def mean_and_worst(of: Callable[[Outcome], float]) -> str:
            values = [self._ratio(case, policy, of) for case in cases]
            return f"{mean(values):.2f} ({max(values):.2f})"

        above_makespan = max(self._above_best(case, policy, makespan_h) for case in cases)
        above_wait = max(self._above_best(case, policy, wait_h) for case in cases)
        late = sum(self._late(case, policy) for case in cases)
        return (
            f"| {self._shown(policy)} | {mean_and_worst(makespan_h)} | {mean_and_worst(wait_h)} "
            f"| {above_makespan:.0%} | {above_wait:.0%} | {late} |"
        )

    def _above_best(self, case: Case, policy: str, of: Callable[[Outcome], float]) -> float:
        """By what part it is above the best of those that know no runtimes."""
        least = EQUAL * mean(self._of(case, self._base, of))
        others = [name for name in case.found if name != self._known]
        best = max(least, min(mean(self._of(case, name, of)) for name in others))
        return max(0.0, mean(self._of(case, policy, of)) / best - 1)

    # one case

    def _case_table(self, case: Case) -> list[str]:
        shared, several = self._parts(case)
        return [
            f"### {case.name}",
            "",
            f"{len(case.traces)} traces; of the GPU time asked for, {shared:.0%} is by jobs that "
            f"share and {several:.0%} by jobs of several GPUs. No policy could end before "
            f"{self._end_h(case):,.1f} h or have jobs wait less than {self._wait_h(case):,.2f} h.",
            "",
            *grid(
                "| policy | makespan h | of baseline | mean wait h | of baseline | p95 h | max h "
                "| several GPUs h | idle GPU-h | packing | delayed | longest delay | late |",
                [self._case_row(case, policy) for policy in case.found],
            ),
        ]

    def _case_row(self, case: Case, policy: str) -> str:
        found = case.found[policy]
        metrics = [one.metrics for one in found]
        cells = [
            f"{mean(self._of(case, policy, makespan_h)):,.1f}",
            self._compared(case, policy, makespan_h),
            f"{mean(self._of(case, policy, wait_h)):,.2f}",
            self._compared(case, policy, wait_h),
            f"{mean([one.p95_wait_s for one in metrics]) / 3600:,.2f}",
            f"{mean([one.max_wait_s for one in metrics]) / 3600:,.2f}",
            f"{mean(self._of(case, policy, several_h)):,.2f}",
            f"{mean([one.idle_gpu_h for one in metrics]):,.0f}",
            f"{mean([one.packing for one in metrics]):.0%}",
            f"{mean([one.delayed for one in found]):.0%}",
            f"{max(one.longest_delay for one in found):.2f}",
            str(self._late(case, policy)),
        ]
        return f"| {self._shown(policy)} | {' | '.join(cells)} |"

    # what the tables are made of

    def _of(self, case: Case, policy: str, of: Callable[[Outcome], float]) -> list[float]:
        return [of(one) for one in case.found[policy]]

    def _ratio(self, case: Case, policy: str, of: Callable[[Outcome], float]) -> float:
        return ratio(self._of(case, policy, of), self._of(case, self._base, of))

    def _compared(self, case: Case, policy: str, of: Callable[[Outcome], float]) -> str:
        return ratio_and_range(self._of(case, policy, of), self._of(case, self._base, of))

    def _late(self, case: Case, policy: str) -> int:
        return sum(one.metrics.late for one in case.found[policy])

    def _end_h(self, case: Case) -> float:
        ends_s = [bounds.end_s(tasks, case.gpus, self._memory_mib) for tasks in case.traces]
        return mean(ends_s) / 3600

    def _wait_h(self, case: Case) -> float:
        waits_s = [bounds.mean_wait_s(tasks, case.gpus, self._memory_mib) for tasks in case.traces]
        return mean(waits_s) / 3600

    def _parts(self, case: Case) -> tuple[float, float]:
        """Of the GPU time asked for: that of jobs that share, and of jobs of several GPUs."""
        tasks = [task for trace in case.traces for task in trace]
        time_s = math.fsum(task.gpus * task.runtime_s for task in tasks)
        shared_s = math.fsum(
            task.gpus * task.runtime_s for task in tasks if task.memory_mib is not None
        )
        several_s = math.fsum(task.gpus * task.runtime_s for task in tasks if task.gpus > 1)
        return shared_s / time_s, several_s / time_s

    def _shown(self, policy: str) -> str:
        return f"**{policy}**" if policy == self._chosen else policy
