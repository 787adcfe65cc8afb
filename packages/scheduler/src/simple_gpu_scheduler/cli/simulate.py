"""`sgs simulate`: what a policy would do with the jobs of a trace, without running them."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Sequence

from simple_gpu_scheduler.cli.figure import pyplot, save
from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.policy.model import Card
from simple_gpu_scheduler.policy.orders import ORDERS, PACKING_ORDER
from simple_gpu_scheduler.policy.reservation import PASSES_PER_GPU
from simple_gpu_scheduler.sim import csv_trace, report, synthetic, trace
from simple_gpu_scheduler.sim.metrics import Metrics, measure
from simple_gpu_scheduler.sim.simulate import EXCLUSIVE, SimulatedJob, simulate
from simple_gpu_scheduler.sim.trace import Trace
from simple_gpu_scheduler.system.fds import print_lines, say
from simple_gpu_scheduler.units.durations import parse_duration_s
from simple_gpu_scheduler.units.sizes import parse_memory_mib

DESCRIPTION = """\
Simulate how the jobs of a trace would be run on the GPUs of one machine, under several policies:
the very plans of the scheduler, under a virtual clock. Nothing is run."""

EPILOG = f"""\
Policies: {EXCLUSIVE} gives each job whole GPUs, first come, first served; under the others jobs
that say how much memory they need share GPUs.
  fifo        first come, first served; the least loaded GPUs first
  backfill    later jobs start meanwhile: those that don't delay the first that waits, and at
              most {PASSES_PER_GPU} others for each GPU that it asks for
  best-fit    as fifo, on the GPUs where the job leaves least free
  frag        as fifo, on the GPUs whose free rest stays most useful
  backfill-best-fit, backfill-frag   both; {PACKING_ORDER} is the choice for jobs with memory

Trace files have columns submit_s, runtime_s, gpus and memory_mib (of each GPU; empty: the whole),
or are the pod list of the cluster-trace-gpu-v2023 (openb). Jobs that share a GPU are taken to run
as long as alone. A job is late if it starts later than it would under {EXCLUSIVE}, by more than
the longest job runs. Where none is late none starves.

examples:
  sgs simulate --synthetic 1000 --gpus 8 --memory 80G
  sgs simulate --trace jobs.csv --gpus 4 --memory 24G --policies fifo,{PACKING_ORDER}
  sgs simulate --trace openb_pod_list_default.csv --slice 3000:4000 --load 1.5 --longest 1d"""

DEFAULT_POLICIES = f"{EXCLUSIVE},{','.join(ORDERS)}"


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line of the subcommand."""
    parser = Parser(
        prog="sgs simulate",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_jobs(parser)
    _add_machine(parser)
    return parser.parse_args(argv)


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    jobs = parser.add_argument_group("jobs")
    source = jobs.add_mutually_exclusive_group(required=True)
    source.add_argument("--trace", metavar="FILE", help="jobs from a file of columns")
    source.add_argument("--synthetic", metavar="N", type=_count, help="N jobs drawn at random")
    add = jobs.add_argument
    add("--format", choices=csv_trace.FORMATS, default="auto", help="of the file (default: auto)")
    add("--mix", choices=synthetic.MIXES, default="mixed", help="of drawn jobs (default: mixed)")
    add("--seed", metavar="S", type=int, default=0, help="of drawn jobs (default: 0)")
    add(
        "--slice", metavar="A:B", type=_slice, default=(0, None), help="jobs A to B-1 of the trace"
    )
    add("--limit", metavar="N", type=_count, help="the first N jobs only")
    add("--longest", metavar="T", type=_seconds, help="leave out jobs that run longer")
    add(
        "--load",
        metavar="X",
        type=_load,
        help="submit the jobs so fast that they ask for X times the GPU time there is; inf: all "
        "at once (default: as in the file; 1.5 for drawn jobs)",
    )


def _add_machine(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("machine and policies").add_argument
    add("--gpus", metavar="N", type=_count, default=8, help="how many (default: 8)")
    add("--memory", metavar="SIZE", type=_memory_mib, default="80G", help="of each (default: 80G)")
    add("--policies", metavar="A,B,..", type=_policies, default=DEFAULT_POLICIES)
    add("--runtimes-known", action="store_true", help="policies know how long each job will run")
    output = parser.add_argument_group("output").add_argument
    output("--json", action="store_true", help="print an object instead of a table")
    output("--figure", metavar="FILE", help="draw how long jobs waited (needs matplotlib)")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) <= 10**7):
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 to 10000000, got {text!r}")
    return int(text)


def _slice(text: str) -> tuple[int, int | None]:
    found = re.fullmatch(r"(\d{0,9}):(\d{0,9})", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected A:B such as 1000:2000, got {text!r}")
    return int(found[1] or 0), int(found[2]) if found[2] else None


def _seconds(text: str) -> float:
    return parse_duration_s(text, "--longest")


def _load(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value > 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, or inf, got {text!r}")
    return value


def _memory_mib(text: str) -> int:
    return parse_memory_mib(text, "--memory")


def _policies(text: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    known = (EXCLUSIVE, *ORDERS)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise argparse.ArgumentTypeError(
            f"expected names of {', '.join(known)}, got {', '.join(unknown) or 'none'}"
        )
    return names


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate, and print what came of it."""
    args = parse_args(sys.argv[1:] if argv is None else argv)
    if args.figure:
        pyplot()  # before the work, not after
    jobs = _jobs(args)
    ran = _simulated(args, jobs)
    base = ran[EXCLUSIVE]
    metrics = [measure(name, ran[name], args.gpus, args.memory, base) for name in args.policies]
    if args.json:
        print_lines(
            *json.dumps(_as_json(args, jobs, metrics), indent=1, allow_nan=False).splitlines()
        )
    else:
        print_lines(*_as_text(args, jobs, metrics))
    if args.figure:
        _draw(args.figure, {name: ran[name] for name in args.policies})
    return 0


def _jobs(args: argparse.Namespace) -> Trace:
    found = _drawn(args) if args.trace is None else _read(args)
    found = trace.drop_impossible(found, args.gpus, args.memory)
    if args.longest is not None:
        found = trace.drop_longer(found, args.longest)
    found = trace.take_slice(found, *args.slice)
    if args.limit is not None:
        found = trace.take_slice(found, 0, args.limit)
    load = 1.5 if args.load is None and args.trace is None else args.load
    if load is None:
        return found
    return found._replace(tasks=trace.with_load(found.tasks, args.gpus, load))


def _drawn(args: argparse.Namespace) -> Trace:
    mix = synthetic.MIXES[args.mix]
    return Trace(synthetic.synthetic(args.synthetic, args.memory, mix, args.seed))


def _read(args: argparse.Namespace) -> Trace:
    try:
        with open(args.trace, encoding="utf-8-sig", newline="") as lines:
            return csv_trace.read(lines, args.trace, args.format, args.memory)
    except OSError as error:
        raise UsageError(f"--trace {args.trace!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--trace {args.trace!r}: expected text in UTF-8") from None


def _simulated(args: argparse.Namespace, jobs: Trace) -> dict[str, list[SimulatedJob]]:
    """What ran under each policy; the baseline is always one, as the measure of waiting."""
    cards = [Card(str(number), memory_mib=args.memory) for number in range(args.gpus)]
    ran: dict[str, list[SimulatedJob]] = {}
    for name in dict.fromkeys((*args.policies, EXCLUSIVE)):
        tell = _progress(name, len(jobs.tasks))
        known = args.runtimes_known
        ran[name] = simulate(jobs.tasks, cards, name, runtimes_known=known, on_progress=tell)
    return ran


def _progress(name: str, total: int) -> Callable[[int], None] | None:
    """Says on a terminal how far it is."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    shown = -1

    def tell(started: int) -> None:
        nonlocal shown
        percent = 100 * started // total
        if percent != shown:
            shown = percent
            end = "\r\x1b[K" if percent == 100 else ""
            say(f"\r\x1b[K{name}: {percent} %{end}".encode())

    return tell


def _as_text(args: argparse.Namespace, jobs: Trace, metrics: Sequence[Metrics]) -> list[str]:
    load = trace.load(jobs.tasks, args.gpus)
    submitted = f"load {load:.2f}" if math.isfinite(load) else "all submitted at once"
    lines = [f"{_many(len(jobs.tasks), 'job')} on {_many(args.gpus, 'GPU')}, {submitted}"]
    lines += [f"left out: {count} ({reason})" for reason, count in jobs.left_out.items()]
    lines += ["", *report.table(metrics)]
    first, last = metrics[0], metrics[-1]
    return [*lines, "", report.compared(last, first)] if len(metrics) > 1 else lines


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _as_json(
    args: argparse.Namespace, jobs: Trace, metrics: Sequence[Metrics]
) -> dict[str, object]:
    load = trace.load(jobs.tasks, args.gpus)
    return {
        "jobs": len(jobs.tasks),
        "left_out": dict(jobs.left_out),
        "gpus": args.gpus,
        "memory_mib": args.memory,
        "load": load if math.isfinite(load) else None,
        "policies": [one._asdict() for one in metrics],
    }


def _draw(path: str, ran: dict[str, list[SimulatedJob]]) -> None:
    figure, axes = pyplot().subplots(figsize=(7, 4), layout="constrained")
    for name, jobs in ran.items():
        waits_h = sorted(one.wait_s / 3600 for one in jobs)
        parts = [(n + 1) / len(waits_h) for n in range(len(waits_h))]
        axes.step(waits_h, parts, where="post", label=name)
    axes.set(xlabel="waited at most (hours)", ylabel="part of the jobs", ylim=(0, 1))
    axes.legend()
    save(figure, path)
