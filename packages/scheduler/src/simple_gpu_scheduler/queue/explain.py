"""Why a job of the queue waits, and when it will probably start."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.policy.explain import GpuVerdict, explain, holds
from simple_gpu_scheduler.policy.model import Snapshot
from simple_gpu_scheduler.policy.plan import plan
from simple_gpu_scheduler.policy.reasons import explain as hold_in_words
from simple_gpu_scheduler.policy.reasons import impossible
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.preview import QueuePreview
from simple_gpu_scheduler.queue.records import HELD, RUNNING, QueuedJob
from simple_gpu_scheduler.queue.store import history
from simple_gpu_scheduler.sim.forecast import LIKELY, QUICK, SLOW, TimeRange, starts_in_s
from simple_gpu_scheduler.sim.runtimes import RuntimeHistory, Runtimes
from simple_gpu_scheduler.units.durations import short_duration, since

#: With more jobs before it, a job's start is told from the pace of the queue, not from plans.
MOST_AHEAD = 128
_MOST_NAMED = 5  #: of the jobs before it
_ABOUT_TO = "it is about to"
_PACE_OF = 256  #: the last so many jobs that have ended


class Waits(NamedTuple):
    """All that is known of a job that waits."""

    reasons: list[str]  #: sentences without a full stop
    ahead: int = 0  #: jobs that are ready and have their turn before it
    verdicts: tuple[GpuVerdict, ...] = ()  #: on each GPU, for a job that nothing else keeps
    starts: TimeRange | None = None  #: in seconds from now
    runs: int = 0  #: that `starts` rests on
    forecast: str = ""  #: the same in words


def why_it_waits(home: QueueHome, entry: QueuedJob, now_s: float) -> Waits:
    """Look at the job, at what it waits for, at the server, and at the GPUs."""
    own = list(_own_reasons(home, entry, now_s))
    of_the_queue = list(_reasons_of_the_queue(home))
    if own:
        return Waits([*own, *of_the_queue])
    try:
        glance = QueuePreview(home)
        found = _on_gpus(home, glance, entry, now_s)
    except SgsError as error:
        return Waits([*of_the_queue, str(error)])
    if of_the_queue:  # what keeps all jobs keeps also one that the plan would start now
        reasons = [one.replace(_ABOUT_TO, "else it would") for one in found.reasons]
        found = found._replace(reasons=reasons, starts=None, runs=0, forecast="")
    return found._replace(reasons=[*of_the_queue, *found.reasons])


def _own_reasons(home: QueueHome, entry: QueuedJob, now_s: float) -> Iterator[str]:
    if entry.state == HELD:
        yield f"it is held by you; sgs release {entry.id} lets it go"
    if entry.not_before_s is not None and entry.not_before_s > now_s:
        in_words = short_duration(entry.not_before_s - now_s)
        yield f"it is to start at {since(entry.not_before_s, now_s)} or later, in {in_words}"
    needs = history.needs_of(home.store.file, entry.id)
    others = {one.id: one for one in home.store.entries(jobs=[job for job, _ in needs])}
    for job, success in needs:
        what = "success" if success else "end"
        yield f"it waits for the {what} of job {job}, which {_doing(others[job], now_s)}"


def _doing(entry: QueuedJob, now_s: float) -> str:
    if entry.state == RUNNING and entry.started_s is not None:
        return f"runs since {since(entry.started_s, now_s)}"
    waits = f", and waits for {entry.blockers} itself" if entry.blockers else ""
    return f"is {entry.state}{waits}"


def _reasons_of_the_queue(home: QueueHome) -> Iterator[str]:
    if home.store.setting("drained"):
        yield "the queue is drained: it starts nothing before sgs server resume"
    if lacks := home.lacks():
        yield f"nothing starts: {lacks}"
    if home.server_pid() is None:
        words = home.last_words()
        yield f"no server runs{f' ({words})' if words else ''}; sgs server start starts one"


def _on_gpus(home: QueueHome, glance: QueuePreview, entry: QueuedJob, now_s: float) -> Waits:
    file = home.store.file
    job = glance.job(entry)
    never = impossible(job, len(glance.cards), glance.cards)
    if never is not None:
        return Waits([f"it can never run here: it {never}"])
    known = glance.known(lambda then_s: since(then_s, now_s))
    verdicts = explain(job, glance.cards, glance.policy, known).verdicts
    ahead = history.ready_before(file, job.seq, entry.priority, now_s)
    if ahead > MOST_AHEAD:
        ends_s = history.last_ends_s(file, _PACE_OF)
        return Waits([f"{ahead:,} jobs go first"], ahead, verdicts, *_by_pace(ahead, ends_s))
    snapshot = glance.snapshot(now_s, ahead)
    reasons = [*_first(home, ahead, now_s), *_of_the_plan(job, snapshot, glance)]
    durations = RuntimeHistory(history.last_successes(file))
    return Waits(reasons, ahead, verdicts, *_by_plans(job, snapshot, glance, durations))


def _first(home: QueueHome, ahead: int, now_s: float) -> Iterator[str]:
    """Those whose turn is before it."""
    if not ahead:
        return
    named = [
        f"{one.id}{f' (priority {one.priority})' if one.priority else ''}"
        for one in home.store.ready(now_s, min(ahead, _MOST_NAMED))
    ]
    more = f" and {ahead - len(named)} more" if ahead > len(named) else ""
    jobs = "1 job goes" if ahead == 1 else f"{ahead} jobs go"
    yield f"{jobs} first, by priority and then submission: {', '.join(named)}{more}"


def _of_the_plan(job: Job, snapshot: Snapshot, glance: QueuePreview) -> Iterator[str]:
    """What the scheduler's own plan has against it now."""
    decided = plan(snapshot, glance.policy)
    for start in decided.starts:
        if start.job.seq == job.seq:
            yield f"{_ABOUT_TO} start on {_names(start.gpus)}"
    for hold in holds(snapshot, glance.policy, decided):
        if hold.job.seq == job.seq:
            yield f"it {hold_in_words(hold)}"


def _by_plans(
    job: Job, snapshot: Snapshot, glance: QueuePreview, durations: RuntimeHistory
) -> tuple[TimeRange | None, int, str]:
    """When it starts, by the plans to come, if jobs take as long as those before them."""
    jobs = [*(one.job for one in snapshot.running), *snapshot.waiting]
    known = {one.seq: durations.find(one.command) for one in jobs}
    if None in known.values():
        return None, 0, "nobody knows when it will start: no job of this queue has succeeded yet"
    runtimes = {seq: one for seq, one in known.items() if one is not None}
    since_s = {one.job.seq: snapshot.now_s - one.started_s for one in snapshot.running}
    spans_s = []
    for percent in (LIKELY, QUICK, SLOW):
        runtimes_s = {
            seq: one.predict_s(percent, since_s.get(seq, 0.0)) for seq, one in runtimes.items()
        }
        spans_s.append(starts_in_s(job, snapshot, glance.policy, runtimes_s))
    found = [one for one in spans_s if one is not None]
    if len(found) < len(spans_s):
        return None, 0, "nobody knows when it will start: others have what it needs"
    runs = sum({id(one.ordered_s): len(one.ordered_s) for one in runtimes.values()}.values())
    span = TimeRange(found[0], min(found), max(found))
    return (
        span,
        runs,
        f"it will probably start {in_words(span)}, {rests_on(runs, runtimes.values())}",
    )


def _by_pace(ahead: int, ends_s: list[float]) -> tuple[TimeRange | None, int, str]:
    """When it starts, if jobs go on ending as fast as the last ones."""
    if len(ends_s) < 2 or ends_s[-1] <= ends_s[0]:
        return None, 0, f"it will start after about {ahead:,} jobs; nobody knows their pace yet"
    likely_s = ahead * (ends_s[-1] - ends_s[0]) / (len(ends_s) - 1)
    after = f"it will start after about {ahead:,} jobs: at the pace of the last {len(ends_s)}"
    span = TimeRange(likely_s, likely_s, likely_s)
    return span, len(ends_s), f"{after}, in about {short_duration(likely_s)}"


def in_words(span: TimeRange) -> str:
    """`in about 25m00s (12m00s to 1h10m)`."""
    if span.latest_s < 1:
        return "at once"
    likely, soonest, latest = map(short_duration, (span.likely_s, span.soonest_s, span.latest_s))
    return f"in about {likely}" + ("" if soonest == latest else f" ({soonest} to {latest})")


def rests_on(runs: int, runtimes: Iterable[Runtimes]) -> str:
    """What a time to come is told from."""
    alike = all(one.alike for one in runtimes)
    what = "1 run" if runs == 1 else f"{runs:,} runs"
    return f"judging by {what} {'of jobs like these' if alike else 'of this queue'}"


def _names(gpus: tuple[str, ...]) -> str:
    return f"GPU{'' if len(gpus) == 1 else 's'} {','.join(gpus)}"
