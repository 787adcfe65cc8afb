"""How the policies compare on traces: regenerates benchmarks/PLACEMENT.md.

    python -m benchmarks.placement [--trace openb_pod_list_default.csv] [--out FILE]

Without a trace, on drawn jobs alone. The trace is that of github.com/alibaba/clusterdata,
cluster-trace-gpu-v2023 (Weng et al., USENIX ATC 2023); it is not part of this repository.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from simple_gpu_scheduler.policy.model import Card
from simple_gpu_scheduler.policy.orders import ORDERS, PACKING_ORDER
from simple_gpu_scheduler.policy.reservation import PASSES_PER_GPU
from simple_gpu_scheduler.sim import csv_trace, synthetic, trace
from simple_gpu_scheduler.sim.metrics import delays_s, measure
from simple_gpu_scheduler.sim.simulate import EXCLUSIVE, SimulatedJob, simulate
from simple_gpu_scheduler.sim.trace import Task

from .report import Case, Outcome, Page

GPUS = 8
MEMORY_MIB = 80 * 1024
JOBS = 1000
SEEDS = 5
LOADS = (1.0, 1.5, math.inf)
LONGEST_S = 86400.0  # beyond are services, some of half a year: no batch jobs for one machine
NAMES = (EXCLUSIVE, *ORDERS)
KNOWN = f"{PACKING_ORDER}, runtimes known"

Traces = Sequence[tuple[Task, ...]]


class Kind(NamedTuple):
    """What is compared under several loads."""

    name: str
    traces: Traces
    gpus: int = GPUS


def kinds(path: str | None) -> Iterator[Kind]:
    """Drawn jobs, and those of the trace if there is one."""
    for name in synthetic.MIXES:
        yield Kind(f"drawn, {name}", _drawn(name))
    yield Kind("drawn, whole, 4 GPUs", _drawn("whole"), gpus=4)
    if path is None:
        return
    with open(path, encoding="utf-8-sig", newline="") as lines:
        found = csv_trace.read(lines, path, "openb", MEMORY_MIB)
    batch = trace.drop_longer(found, LONGEST_S).tasks
    yield Kind("openb, in one", [batch])
    yield Kind("openb, seen", _pieces(batch)[::2])
    yield Kind("openb, held out", _pieces(batch)[1::2])
    yield Kind("openb, jobs that share", _pieces([t for t in batch if t.memory_mib is not None]))


def _drawn(name: str) -> Traces:
    mix = synthetic.MIXES[name]
    return [synthetic.synthetic(JOBS, MEMORY_MIB, mix, seed) for seed in range(SEEDS)]


def _pieces(tasks: Sequence[Task]) -> Traces:
    return [
        trace.sort_tasks(tasks[first : first + JOBS])
        for first in range(0, len(tasks) - JOBS // 2, JOBS)
    ]


def case(kind: Kind, load: float) -> Case:
    """Simulate all policies on the traces under one load."""
    submitted = "all at once" if math.isinf(load) else f"load {load:g}"
    loaded = [trace.with_load(tasks, kind.gpus, load) for tasks in kind.traces]
    found = [_of_one(tasks, kind.gpus) for tasks in loaded]
    of_policy = {policy: [one[policy] for one in found] for policy in (*NAMES, KNOWN)}
    return Case(f"{kind.name}, {submitted}", kind.gpus, loaded, of_policy)


def _of_one(tasks: Sequence[Task], gpus: int) -> dict[str, Outcome]:
    cards = [Card(str(n), memory_mib=MEMORY_MIB) for n in range(gpus)]
    ran = {name: simulate(tasks, cards, name) for name in NAMES}
    ran[KNOWN] = simulate(tasks, cards, PACKING_ORDER, runtimes_known=True)
    baseline = ran[EXCLUSIVE]
    return {name: _outcome(name, jobs, gpus, baseline) for name, jobs in ran.items()}


def _outcome(
    name: str, ran: Sequence[SimulatedJob], gpus: int, baseline: Sequence[SimulatedJob]
) -> Outcome:
    found_s = delays_s(ran, baseline)
    waits_s = [one.wait_s for one in ran if one.task.gpus > 1]
    return Outcome(
        measure(name, ran, gpus, MEMORY_MIB, baseline),
        several_wait_s=math.fsum(waits_s) / len(waits_s) if waits_s else 0.0,
        delayed=sum(one > 0 for one in found_s) / len(ran),
        longest_delay=max(found_s) / max(one.task.runtime_s for one in ran),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.placement", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--trace", metavar="FILE", help="openb_pod_list_default.csv")
    parser.add_argument("--out", metavar="FILE", default="benchmarks/PLACEMENT.md")
    args = parser.parse_args()
    cases = [case(kind, load) for kind in kinds(args.trace) for load in LOADS]
    page = Page(MEMORY_MIB, base=EXCLUSIVE, chosen=PACKING_ORDER, known=KNOWN)
    Path(args.out).write_text(page.text(cases, PASSES_PER_GPU))


if __name__ == "__main__":
    main()
