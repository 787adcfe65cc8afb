"""Why a job of the queue waits, and when it will probably start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.policy.explain import GpuVerdict, explain, holds
from simple_gpu_scheduler.policy.model import Snapshot
from simple_gpu_scheduler.policy.plan import plan
from simple_gpu_scheduler.policy.reasons import explain as explain_hold
from simple_gpu_scheduler.policy.reasons import impossible
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.preview import QueuePreview
from simple_gpu_scheduler.queue.records import HELD, RUNNING, QueuedJob
from simple_gpu_scheduler.queue.store import history
from simple_gpu_scheduler.sim.forecast import LIKELY, QUICK, SLOW, Span, starts_in_s
from simple_gpu_scheduler.sim.runtimes import Durations, Runtimes
from simple_gpu_scheduler.units.durations import format_duration, format_since

#: With more jobs ahead, the start is forecast from the pace of the queue, as plans take too long.
MOST_AHEAD = 128
_MOST_NAMED = 5  #: of the jobs ahead
_ABOUT_TO = "it is about to"
_PACE_OF = 256  #: the pace is that of the last so many ends of attempts


class Waits(NamedTuple):
    """Why a job waits, and when it will start."""

    reasons: list[str]  #: sentences without a full stop
    ahead: int = 0  #: the number of ready jobs whose turn comes first
    verdicts: tuple[GpuVerdict, ...] = ()  #: for each GPU, if the job waits for nothing else
    starts: Span | None = None  #: in seconds from now
    runs: int = 0  #: the number of runs that `starts` is based on
    forecast: str = ""  #: `starts` in words


def why_it_waits(home: QueueHome, entry: QueuedJob, now_s: float) -> Waits:
    """Check the job, its dependencies, the server and the GPUs."""
    own_reasons = list(_own_reasons(home, entry, now_s))
    queue_reasons = list(_queue_reasons(home))
    if own_reasons:
        return Waits([*own_reasons, *queue_reasons])
    try:
        waits = _explain_gpus(home, QueuePreview(home), entry, now_s)
    except SgsError as error:
        return Waits([*queue_reasons, str(error)])
    if queue_reasons:  # they keep all jobs waiting, even one that the plan would start now
        reasons = [reason.replace(_ABOUT_TO, "else it would") for reason in waits.reasons]
        waits = waits._replace(reasons=reasons, starts=None, runs=0, forecast="")
    return waits._replace(reasons=[*queue_reasons, *waits.reasons])


def _own_reasons(home: QueueHome, entry: QueuedJob, now_s: float) -> Iterator[str]:
    if entry.state == HELD:
        yield f"it is held by you; sgs release {entry.id} lets it go"
    if entry.not_before_s is not None and entry.not_before_s > now_s:
        left = format_duration(entry.not_before_s - now_s)
        yield f"it is to start at {format_since(entry.not_before_s, now_s)} or later, in {left}"
    needs = history.needs_of(home.store.file, entry.id)
    others = {other.id: other for other in home.store.entries(jobs=[job for job, _ in needs])}
    for job, success in needs:
        event = "success" if success else "end"
        yield f"it waits for the {event} of job {job}, which {_progress(others[job], now_s)}"


def _progress(entry: QueuedJob, now_s: float) -> str:
    if entry.state == RUNNING and entry.started_s is not None:
        return f"runs since {format_since(entry.started_s, now_s)}"
    waits = f", and waits for {entry.blockers} itself" if entry.blockers else ""
    return f"is {entry.state}{waits}"


def _queue_reasons(home: QueueHome) -> Iterator[str]:
    """Why no job of the queue starts."""
    if home.store.setting("drained"):
        yield "the queue is drained: it starts nothing before sgs server resume"
    if lacks := home.lacks():
        yield f"nothing starts: {lacks}"
    if home.server_pid() is None:
        line = home.last_words()
        yield f"no server runs{f' ({line})' if line else ''}; sgs server start starts one"


def _explain_gpus(home: QueueHome, preview: QueuePreview, entry: QueuedJob, now_s: float) -> Waits:
    """Explain a job that waits for GPUs alone."""
    file = home.store.file
    job = preview.job(entry)
    never = impossible(job, len(preview.gpus), preview.gpus)
    if never is not None:
        return Waits([f"it can never run here: it {never}"])
    claims = preview.claims(lambda then_s: format_since(then_s, now_s))
    verdicts = explain(job, preview.gpus, preview.policy, claims).verdicts
    ahead = history.ready_before(file, job.seq, entry.priority, now_s)
    if ahead > MOST_AHEAD:
        ends_s = history.last_ends_s(file, _PACE_OF)
        return Waits(
            [f"{ahead:,} jobs go first"], ahead, verdicts, *_forecast_by_pace(ahead, ends_s)
        )
    snapshot = preview.snapshot(now_s, ahead)
    reasons = [*_jobs_ahead(home, ahead, now_s), *_plan_reasons(job, snapshot, preview)]
    durations = Durations(history.last_successes(file))
    return Waits(reasons, ahead, verdicts, *_forecast_by_plans(job, snapshot, preview, durations))


def _jobs_ahead(home: QueueHome, ahead: int, now_s: float) -> Iterator[str]:
    """Name the jobs whose turn comes first."""
    if not ahead:
        return
    named = [
        f"{job.id}{f' (priority {job.priority})' if job.priority else ''}"
        for job in home.store.ready(now_s, min(ahead, _MOST_NAMED))
    ]
    more = f" and {ahead - len(named)} more" if ahead > len(named) else ""
    jobs = "1 job goes" if ahead == 1 else f"{ahead} jobs go"
    yield f"{jobs} first, by priority and then submission: {', '.join(named)}{more}"


def _plan_reasons(job: Job, snapshot: Snapshot, preview: QueuePreview) -> Iterator[str]:
    """What the server's next plan does with the job."""
    decided = plan(snapshot, preview.policy)
    for start in decided.starts:
        if start.job.seq == job.seq:
            yield f"{_ABOUT_TO} start on {_names(start.gpus)}"
    for hold in holds(snapshot, preview.policy, decided):
        if hold.job.seq == job.seq:
            yield f"it {explain_hold(hold)}"


def _forecast_by_plans(
    job: Job, snapshot: Snapshot, preview: QueuePreview, durations: Durations
) -> tuple[Span | None, int, str]:
    """Simulate the plans to come. Each job takes as long as earlier jobs like it."""
    jobs = [*(running.job for running in snapshot.running), *snapshot.waiting]
    runtimes: dict[int, Runtimes] = {}
    for other in jobs:
        like_it = durations.of(other.command)
        if like_it is None:
            why = "no job of this queue has succeeded yet"
            return None, 0, f"nobody knows when it will start: {why}"
        runtimes[other.seq] = like_it
    since_s = {running.job.seq: snapshot.now_s - running.started_s for running in snapshot.running}
    starts_s: list[float] = []
    for percent in (LIKELY, QUICK, SLOW):
        runtimes_s = {
            seq: like_it.will_run_s(percent, since_s.get(seq, 0.0))
            for seq, like_it in runtimes.items()
        }
        start_s = starts_in_s(job, snapshot, preview.policy, runtimes_s)
        if start_s is None:
            return None, 0, "nobody knows when it will start: others have what it needs"
        starts_s.append(start_s)
    samples = {id(like_it.ordered_s): like_it.ordered_s for like_it in runtimes.values()}
    runs = sum(len(ordered_s) for ordered_s in samples.values())
    span = Span(starts_s[0], min(starts_s), max(starts_s))
    forecast = f"it will probably start {in_words(span)}, {rests_on(runs, runtimes.values())}"
    return span, runs, forecast


def _forecast_by_pace(ahead: int, ends_s: list[float]) -> tuple[Span | None, int, str]:
    """Assume that jobs continue to end as fast as the last ones."""
    if len(ends_s) < 2 or ends_s[-1] <= ends_s[0]:
        return None, 0, f"it will start after about {ahead:,} jobs; nobody knows their pace yet"
    likely_s = ahead * (ends_s[-1] - ends_s[0]) / (len(ends_s) - 1)
    after = f"it will start after about {ahead:,} jobs: at the pace of the last {len(ends_s)}"
    span = Span(likely_s, likely_s, likely_s)
    return span, len(ends_s), f"{after}, in about {format_duration(likely_s)}"


def in_words(span: Span) -> str:
    """Format a span as `in about 25m00s (12m00s to 1h10m)`."""
    if span.latest_s < 1:
        return "at once"
    likely, soonest, latest = map(format_duration, (span.likely_s, span.soonest_s, span.latest_s))
    return f"in about {likely}" + ("" if soonest == latest else f" ({soonest} to {latest})")


def rests_on(runs: int, runtimes: Iterable[Runtimes]) -> str:
    """Say which runs a forecast is based on."""
    alike = all(like_it.alike for like_it in runtimes)
    count = "1 run" if runs == 1 else f"{runs:,} runs"
    return f"judging by {count} {'of jobs like these' if alike else 'of this queue'}"


def _names(gpus: tuple[str, ...]) -> str:
    return f"GPU{'' if len(gpus) == 1 else 's'} {','.join(gpus)}"
