"""`sgs explain`: which GPUs a job would get now, and why; or why it would wait, and for whom."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

from simple_gpu_scheduler.allocation.preview import Preview
from simple_gpu_scheduler.cli.gpus.lease import BUSY
from simple_gpu_scheduler.cli.gpus.options import (
    add_idle_options,
    add_placement_options,
    idle_limits,
    jobs_per_gpu,
    joined,
    order_name,
    vram_mib,
)
from simple_gpu_scheduler.cli.parser import Parser, whole
from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.gpus.selection import GpuSelection, select_gpus
from simple_gpu_scheduler.jobs.job import Job, share_units
from simple_gpu_scheduler.policy.explain import Explanation, explain
from simple_gpu_scheduler.policy.model import PipePolicy
from simple_gpu_scheduler.policy.reasons import impossible
from simple_gpu_scheduler.system.fds import print_lines, print_stderr
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.units.durations import since

DESCRIPTION = """\
Show which GPUs a job of simple_gpu_scheduler would get if it came now, and why; or why it would
wait, and for whom. The answer is the scheduler's own plan; no GPU is taken, nobody's turn changes.

Each GPU has a line with what speaks for or against it; * marks those that the job would get.

With the number of a job of the queue: why it waits and when it will probably start, how long it
will probably run, or how it ended."""

EPILOG = """\
--json prints an object: starts (true or false), gpus (those that the job would get), summary, and
cards ([{gpu, chosen, fits, reason}]; fits: it has room for the job). Of a job of the queue: id,
state, command, how (it ended), reasons (why it waits), ahead (jobs before it), cards, starts_in
and ends_in ({likely_s, soonest_s, latest_s}), forecast (the same in words), forecast_runs (that it
rests on) and attempts ([{number, state, exit_code, signal, reason, gpus, started, ended, vram_mib,
peak_vram_mib, user_s, system_s, max_rss_mib}]).

examples:
  sgs explain 7                      job 7 of the queue
  sgs explain                        a job that needs one whole GPU
  sgs explain --gpus 2               two GPUs: which are connected best?
  sgs explain --vram 30G --pack      30 GiB of one, on a GPU that is in use already
  sgs explain --on 0,1               these very GPUs, both
  sgs explain --on 0,1,2 --gpus 1    one of these

exit status: 0 it would start now, 75 it would wait, 2 usage, or it could never run here, 1 leases
can't be had, or all GPUs have failed; of a job of the queue 0."""


def main(argv: Sequence[str]) -> int:
    """Print the answer; returns the exit status.

    Raises:
        UsageError: there are no such GPUs, or the job could never run on them.
        SgsError: leases can't be read.
    """
    args = _parser().parse_args(joined(argv))
    if args.job is not None:
        return _of_the_queue(args)
    chosen = select_gpus(None if args.on is None else [args.on], _say, option="--on")
    job = _job(args, chosen)
    _check(job, len(chosen.keys))
    idle: dict[str, Any] = idle_limits(args)
    glance = Preview(chosen, avoid_foreign=args.on is None, keep_free=args.keep_free, **idle)
    _check(job, len(chosen.keys), glance)
    now_s = time.time()
    known = glance.claims(lambda then_s: since(then_s, now_s))
    policy = PipePolicy(order=order_name(args), placement=args.placement)
    found = explain(job, glance.cards, policy, known)
    print_lines(*([json.dumps(_object(found))] if args.json else _text(found)))
    return 0 if found.gpus else 1 if found.failed else BUSY


def _of_the_queue(args: argparse.Namespace) -> int:
    """What is known of a job that was submitted; it has said what it asks for."""
    others = vars(_parser().parse_args([])) | {"job": args.job, "json": args.json}
    if vars(args) != others:
        raise UsageError(
            "a job of the queue has said what it needs; expected no option but --json"
        )
    from simple_gpu_scheduler.cli.queue.explain_job import explain_job

    return explain_job(args.job, as_json=args.json)


def _job(args: argparse.Namespace, chosen: GpuSelection) -> Job:
    number = args.gpus or (1 if args.on is None else len(chosen.keys))
    units = share_units(jobs_per_gpu(args))
    return Job(1, b"", number, units, memory_mib=vram_mib(args.vram))


def _check(job: Job, gpus: int, glance: Preview | None = None) -> None:
    reason = impossible(job, gpus, glance.cards if glance else ())
    if reason is not None:
        raise UsageError(f"the job {reason}")


def _text(found: Explanation) -> list[str]:
    names = [printable(one.gpu) for one in found.verdicts]
    width = max(map(len, names))
    lines = [
        f"{'*' if one.chosen else ' '} GPU {name:<{width}}  {one.reason}"
        for name, one in zip(names, found.verdicts, strict=True)
    ]
    return [*lines, "", found.summary]


def _object(found: Explanation) -> dict[str, object]:
    return {
        "starts": bool(found.gpus),
        "gpus": found.gpus,
        "summary": found.summary,
        "cards": [one._asdict() for one in found.verdicts],
    }


def _say(text: str) -> None:
    print_stderr(f"sgs explain: {text}")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sgs explain",
        allow_abbrev=False,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--gpus",
        type=whole(1, 4096),
        metavar="N",
        help="GPUs that the job needs (default 1, or all of --on)",
    )
    parser.add_argument(
        "--on",
        metavar="ID,...",
        help="of these GPUs, as 0,1 or by UUID; default: all of the machine, within "
        "CUDA_VISIBLE_DEVICES if that is set",
    )
    group = parser.add_argument_group("as for simple_gpu_scheduler")
    add_placement_options(group)
    add_idle_options(group)
    parser.add_argument("--json", action="store_true", help="print an object instead")
    parser.add_argument("job", nargs="?", metavar="ID", help="a job of the queue")
    return parser
