"""How an attempt ended, and how jobs are counted. What becomes of the job: `policy.outcome`."""

from __future__ import annotations

import signal

from simple_gpu_scheduler.pipe.events import Ended
from simple_gpu_scheduler.policy.model import Running, Stop
from simple_gpu_scheduler.policy.outcome import OutcomeKind
from simple_gpu_scheduler.processes.records import Exit

_TALLIES = {OutcomeKind.SUCCEEDED: "succeeded", OutcomeKind.CANCELLED: "aborted"}


def tally_of(kind: OutcomeKind) -> str:
    """The field of `Counts` in which a job counts that will not run again."""
    return _TALLIES.get(kind, "failed")


def after_stop(running: Running, stop: Stop, now_s: float) -> Running:
    """The running job once the signal was sent; `stopped_s` is the time of its first signal."""
    return running._replace(
        stopped_s=now_s if running.stopped_s is None else running.stopped_s,
        killed=stop.signal == signal.SIGKILL,
        timed_out=running.timed_out or stop.timed_out,
    )


def judge_exit(running: Running, exit_: Exit, now_s: float) -> Ended:
    """How the attempt ended: by itself, by its time limit, or because the run ended it."""
    return Ended(
        running,
        exit_,
        now_s - running.started_s,
        ok=exit_.exit_code == 0 and not running.timed_out,
        aborted=running.stopped_s is not None and not running.timed_out,
    )
