"""`sgs simulate`: what a policy would do with the jobs of a trace, without running them."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence

from simple_gpu_scheduler.cli.figure import pyplot, save
from simple_gpu_scheduler.cli.simulate_options import parse_args
from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.policy.model import Card
from simple_gpu_scheduler.sim import csv_trace, report, synthetic, trace
from simple_gpu_scheduler.sim.metrics import Metrics, measure
from simple_gpu_scheduler.sim.simulate import EXCLUSIVE, Ran, simulate
from simple_gpu_scheduler.sim.trace import Trace
from simple_gpu_scheduler.system.fds import print_lines, write_message


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate the policies, and print what each achieved.

    Raises:
        UsageError: an option is wrong, or the trace can't be read.
        SgsError: the figure can't be drawn.
    """
    args = parse_args(sys.argv[1:] if argv is None else argv)
    if args.figure:
        pyplot()  # before the work, not after
    jobs = _select_jobs(args)
    ran = _simulate_policies(args, jobs)
    base = ran[EXCLUSIVE]
    metrics = [measure(name, ran[name], args.gpus, args.memory, base) for name in args.policies]
    if args.json:
        print_lines(
            *json.dumps(_as_object(args, jobs, metrics), indent=1, allow_nan=False).splitlines()
        )
    else:
        print_lines(*_as_text(args, jobs, metrics))
    if args.figure:
        _draw(args.figure, {name: ran[name] for name in args.policies})
    return 0


def _select_jobs(args: argparse.Namespace) -> Trace:
    jobs = _draw_jobs(args) if args.trace is None else _read_jobs(args)
    jobs = trace.possible(jobs, args.gpus, args.memory)
    if args.longest is not None:
        jobs = trace.up_to(jobs, args.longest)
    jobs = trace.piece(jobs, *args.slice)
    if args.limit is not None:
        jobs = trace.piece(jobs, 0, args.limit)
    load = 1.5 if args.load is None and args.trace is None else args.load
    if load is None:
        return jobs
    return jobs._replace(tasks=trace.with_load(jobs.tasks, args.gpus, load))


def _draw_jobs(args: argparse.Namespace) -> Trace:
    mix = synthetic.MIXES[args.mix]
    return Trace(synthetic.synthetic(args.synthetic, args.memory, mix, args.seed))


def _read_jobs(args: argparse.Namespace) -> Trace:
    try:
        with open(args.trace, encoding="utf-8-sig", newline="") as lines:
            return csv_trace.read(lines, args.trace, args.format, args.memory)
    except OSError as error:
        raise UsageError(f"--trace {args.trace!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--trace {args.trace!r}: expected text in UTF-8") from None


def _simulate_policies(args: argparse.Namespace, jobs: Trace) -> dict[str, list[Ran]]:
    """Return what ran under each policy, and under the baseline, to which waits are compared."""
    gpus = [Card(str(number), memory_mib=args.memory) for number in range(args.gpus)]
    ran: dict[str, list[Ran]] = {}
    for name in dict.fromkeys((*args.policies, EXCLUSIVE)):
        tell = _progress(name, len(jobs.tasks))
        known = args.runtimes_known
        ran[name] = simulate(jobs.tasks, gpus, name, runtimes_known=known, tell=tell)
    return ran


def _progress(name: str, total: int) -> Callable[[int], None] | None:
    """Return a function that shows on a terminal how many jobs have started; None elsewhere."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    shown = -1

    def show(started: int) -> None:
        nonlocal shown
        percent = 100 * started // total
        if percent != shown:
            shown = percent
            end = "\r\x1b[K" if percent == 100 else ""
            write_message(f"\r\x1b[K{name}: {percent} %{end}".encode())

    return show


def _as_text(args: argparse.Namespace, jobs: Trace, metrics: Sequence[Metrics]) -> list[str]:
    load = trace.load(jobs.tasks, args.gpus)
    submitted = f"load {load:.2f}" if math.isfinite(load) else "all submitted at once"
    lines = [f"{_many(len(jobs.tasks), 'job')} on {_many(args.gpus, 'GPU')}, {submitted}"]
    lines += [f"left out: {count} ({reason})" for reason, count in jobs.left_out.items()]
    lines += ["", *report.table(metrics)]
    first, last = metrics[0], metrics[-1]
    return [*lines, "", report.compared(last, first)] if len(metrics) > 1 else lines


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _as_object(
    args: argparse.Namespace, jobs: Trace, metrics: Sequence[Metrics]
) -> dict[str, object]:
    load = trace.load(jobs.tasks, args.gpus)
    return {
        "jobs": len(jobs.tasks),
        "left_out": dict(jobs.left_out),
        "gpus": args.gpus,
        "memory_mib": args.memory,
        "load": load if math.isfinite(load) else None,
        "policies": [policy._asdict() for policy in metrics],
    }


def _draw(path: str, ran: dict[str, list[Ran]]) -> None:
    figure, axes = pyplot().subplots(figsize=(7, 4), layout="constrained")
    for name, jobs in ran.items():
        waits_h = sorted(job.wait_s / 3600 for job in jobs)
        parts = [(n + 1) / len(waits_h) for n in range(len(waits_h))]
        axes.step(waits_h, parts, where="post", label=name)
    axes.set(xlabel="waited at most (hours)", ylabel="part of the jobs", ylim=(0, 1))
    axes.legend()
    save(figure, path)
