"""The options of `sgs simulate`."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence

from simple_gpu_scheduler.cli.parser import Parser, gpu_count
from simple_gpu_scheduler.policy.orders import ORDERS, PACKING_ORDER
from simple_gpu_scheduler.policy.reservation import PASSES_PER_GPU
from simple_gpu_scheduler.sim import csv_trace, synthetic
from simple_gpu_scheduler.sim.simulate import EXCLUSIVE
from simple_gpu_scheduler.units.durations import parse_duration_s
from simple_gpu_scheduler.units.sizes import parse_memory_mib

_DESCRIPTION = """\
Simulate how a machine would run the jobs of a trace under several scheduling policies. The plans
are those of the scheduler itself, under a virtual clock. Nothing is run."""

_EPILOG = f"""\
policies:
  {EXCLUSIVE}     first come, first served; each job gets whole GPUs
  fifo               first come, first served; the least loaded GPUs first
  backfill           as fifo, but later jobs may start before the first one that waits: those that
                     don't delay it, and at most {PASSES_PER_GPU} others for each GPU that it needs
  best-fit           as fifo, on the GPUs where the job leaves the least memory free
  frag               as fifo, on the GPUs whose free rest stays the most useful
  backfill-best-fit  backfill and best-fit
  backfill-frag      backfill and frag
Under all but {EXCLUSIVE}, jobs that say how much memory they need share GPUs. For such jobs the
scheduler uses {PACKING_ORDER}.

A trace file has the columns submit_s, runtime_s, gpus and memory_mib (on each GPU; empty: a whole
GPU). Or it is the pod list of the cluster-trace-gpu-v2023 (openb).

A shared GPU is assumed not to slow its jobs down. A job is late if it starts later than under
{EXCLUSIVE} by more than the run time of the longest job. If none is late, none starves.

Sizes: M is MiB and G is GiB: 512M, 10G.

examples:
  sgs simulate --synthetic 1000 --gpus 8 --memory 80G
  sgs simulate --trace jobs.csv --gpus 4 --memory 24G --policies fifo,{PACKING_ORDER}
  sgs simulate --trace openb_pod_list_default.csv --slice 3000:4000 --load 1.5 --longest 1d"""

_MOST = 10**7  #: of jobs, and of GPUs
_DEFAULT_POLICIES = f"{EXCLUSIVE},{','.join(ORDERS)}"


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command line of the subcommand.

    Raises:
        UsageError: an option or its value is wrong.
    """
    parser = Parser(prog="sgs simulate", description=_DESCRIPTION, epilog=_EPILOG)
    _add_jobs(parser)
    _add_machine(parser)
    return parser.parse_args(argv)


def _add_jobs(parser: argparse.ArgumentParser) -> None:
    jobs = parser.add_argument_group("jobs")
    source = jobs.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--trace", metavar="FILE", help="read the jobs from this CSV file, see below"
    )
    source.add_argument(
        "--synthetic", metavar="N", type=_count, help="draw N jobs at random, instead of a trace"
    )
    add = jobs.add_argument
    add(
        "--format",
        choices=csv_trace.FORMATS,
        default="auto",
        help="format of the trace file (default auto: recognised by its columns)",
    )
    add(
        "--mix",
        choices=synthetic.MIXES,
        default="mixed",
        help="kind of jobs that --synthetic draws (default mixed)",
    )
    add(
        "--seed",
        metavar="S",
        type=int,
        default=0,
        help="whole number that makes the jobs of --synthetic repeatable (default 0)",
    )
    add(
        "--slice",
        metavar="A:B",
        type=_slice,
        default=(0, None),
        help="use only jobs A to B-1 of the trace, counted from 0 (default: all)",
    )
    add("--limit", metavar="N", type=_count, help="use only the first N jobs (default: all)")
    add(
        "--longest",
        metavar="DURATION",
        type=_seconds,
        help="leave out jobs that run longer than this, such as 12h or 1d (default: none)",
    )
    add(
        "--load",
        metavar="X",
        type=_positive,
        help="submit jobs so that they need X times the available GPU time (default: as in the "
        "file; 1.5 with --synthetic); inf: submit all at once",
    )


def _add_machine(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("machine and policies").add_argument
    add(
        "--gpus",
        metavar="N",
        type=gpu_count(most=_MOST),
        default=8,
        help="number of GPUs of the machine (default 8)",
    )
    add(
        "--memory",
        metavar="SIZE",
        type=_memory_mib,
        default="80G",
        help="memory of each GPU (default 80G = 80 GiB)",
    )
    add(
        "--policies",
        metavar="A,B,..",
        type=_policies,
        default=_DEFAULT_POLICIES,
        help="policies to compare, separated by commas, see below (default: all)",
    )
    add(
        "--runtimes-known",
        action="store_true",
        help="let the policies know how long each job will run (default: they don't)",
    )
    output = parser.add_argument_group("output").add_argument
    output("--json", action="store_true", help="print a JSON object instead of a table")
    output(
        "--figure",
        metavar="FILE",
        help="draw how long the jobs waited into FILE, such as waits.png (needs matplotlib)",
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) <= _MOST):
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 to 10000000, got {text!r}")
    return int(text)


def _slice(text: str) -> tuple[int, int | None]:
    match = re.fullmatch(r"(\d{0,9}):(\d{0,9})", text, re.ASCII)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected A:B such as 1000:2000, got {text!r}")
    return int(match[1] or 0), int(match[2]) if match[2] else None


def _seconds(text: str) -> float:
    return parse_duration_s(text, "--longest")


def _positive(text: str) -> float:
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
