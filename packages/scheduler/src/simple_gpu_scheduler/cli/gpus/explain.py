"""`sgs explain`: which GPUs a job would get now and why, or why it would wait."""

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
    join_negative_values,
    order_name,
    vram_mib,
)
from simple_gpu_scheduler.cli.gpus.verdicts import verdict_lines
from simple_gpu_scheduler.cli.parser import BY_ON, Parser, gpu_count
from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.gpus.selection import GpuSelection, select_gpus
from simple_gpu_scheduler.jobs.job import Job, share_units
from simple_gpu_scheduler.policy.explain import Explanation, explain
from simple_gpu_scheduler.policy.model import PipePolicy
from simple_gpu_scheduler.policy.reasons import impossible
from simple_gpu_scheduler.system.fds import print_lines, print_stderr
from simple_gpu_scheduler.units.durations import format_since

DESCRIPTION = """\
Show which GPUs a job of simple_gpu_scheduler would get now, and why. If it would wait: why, and
for whom. The scheduler itself plans the answer. It takes no GPU, and changes nobody's turn.

Each GPU has a line that says why the job would get it, or why not. * marks the GPUs that it would
get.

With the number of a job of the queue, it shows why the job waits and when it will probably start,
how long it will probably run, or how it ended."""

EPILOG = """\
--json prints an object with these keys:
  starts      true if the job would start now
  gpus        the GPUs that it would get
  summary     the answer in words
  cards       for each GPU {gpu, chosen, fits, reason}; fits: it has room for the job

For a job of the queue, the keys are:
  id, state, command
  how             how it ended
  reasons, ahead  why it waits; the number of jobs before it
  cards           as above
  starts_in, ends_in   {likely_s, soonest_s, latest_s}
  forecast        the same in words
  forecast_runs   the number of earlier runs on which the forecast rests
  attempts        for each {number, state, exit_code, signal, reason, gpus, started, ended,
                  vram_mib, peak_vram_mib, user_s, system_s, max_rss_mib}

exit status:
  0   the job would start now; or it is a job of the queue
  1   the leases can't be read, or all GPUs have failed
  2   wrong usage, or the job could never run here
  75  the job would wait

Sizes: M is MiB and G is GiB: 512M, 10G.

examples:
  sgs explain 7                      job 7 of the queue
  sgs explain                        a job that needs one whole GPU
  sgs explain --gpus 2               a job that needs two GPUs: which are connected best?
  sgs explain --vram 30G --pack      a job that needs 30 GiB, on a GPU that is in use already
  sgs explain --on 0,1               a job that needs both GPU 0 and GPU 1
  sgs explain --on 0,1,2 --gpus 1    a job that needs one of these three GPUs"""


def main(argv: Sequence[str]) -> int:
    """Print which GPUs a job would get; returns the exit status.

    Raises:
        UsageError: there are no such GPUs, or the job could never run on them.
        SgsError: leases can't be read.
    """
    args = _parser().parse_args(join_negative_values(argv))
    if args.job is not None:
        return _explain_queued(args)
    selection = select_gpus(None if args.on is None else [args.on], _say, option="--on")
    job = _job(args, selection)
    _check_possible(job, len(selection.keys))
    idle: dict[str, Any] = idle_limits(args)
    preview = Preview(selection, avoid_foreign=args.on is None, keep_free=args.keep_free, **idle)
    _check_possible(job, len(selection.keys), preview)
    now_s = time.time()
    claims = preview.claims(lambda then_s: format_since(then_s, now_s))
    policy = PipePolicy(order=order_name(args), placement=args.placement)
    explanation = explain(job, preview.cards, policy, claims)
    print_lines(*([json.dumps(_object(explanation))] if args.json else _text(explanation)))
    return 0 if explanation.gpus else 1 if explanation.failed else BUSY


def _explain_queued(args: argparse.Namespace) -> int:
    """Explain a job of the queue, whose needs were given by `sgs submit`."""
    expected = vars(_parser().parse_args([])) | {"job": args.job, "json": args.json}
    if vars(args) != expected:
        raise UsageError(
            "a job of the queue has its options from sgs submit; expected no option but --json"
        )
    from simple_gpu_scheduler.cli.queue.explain_job import explain_job

    return explain_job(args.job, as_json=args.json)


def _job(args: argparse.Namespace, selection: GpuSelection) -> Job:
    number = args.gpus or (1 if args.on is None else len(selection.keys))
    units = share_units(jobs_per_gpu(args))
    return Job(1, b"", number, units, memory_mib=vram_mib(args.vram))


def _check_possible(job: Job, gpus: int, preview: Preview | None = None) -> None:
    reason = impossible(job, gpus, preview.cards if preview else ())
    if reason is not None:
        raise UsageError(f"the job {reason}")


def _text(explanation: Explanation) -> list[str]:
    return [*verdict_lines(explanation.verdicts), "", explanation.summary]


def _object(explanation: Explanation) -> dict[str, object]:
    return {
        "starts": bool(explanation.gpus),
        "gpus": explanation.gpus,
        "summary": explanation.summary,
        "cards": [verdict._asdict() for verdict in explanation.verdicts],
    }


def _say(text: str) -> None:
    print_stderr(f"sgs explain: {text}")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="sgs explain", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument(
        "--gpus",
        type=gpu_count(BY_ON),
        metavar="N",
        help="number of GPUs that the job needs (default 1; with --on: all that are named); to "
        "choose ids: --on",
    )
    parser.add_argument(
        "--on",
        metavar="ID,...",
        help="ids of the GPUs that the job may use, such as 0,1, or UUIDs (default: all GPUs of "
        "the machine, within CUDA_VISIBLE_DEVICES if that is set)",
    )
    group = parser.add_argument_group("options of simple_gpu_scheduler")
    add_placement_options(group)
    add_idle_options(group, "--on")
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of text")
    parser.add_argument(
        "job", nargs="?", metavar="ID", help="number of a job of the queue to explain"
    )
    return parser
