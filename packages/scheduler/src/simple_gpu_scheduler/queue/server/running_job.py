"""A job that runs, as the server sees it."""

from __future__ import annotations

import time

from simple_gpu_scheduler.policy.model import Running
from simple_gpu_scheduler.queue.journal import JournalEntry
from simple_gpu_scheduler.queue.records import Attempt, QueuedJob, job_of
from simple_gpu_scheduler.queue.server.processes import JobTree, is_running
from simple_gpu_scheduler.system.proc import age_s, boot_ticks


class RunningJob:
    """A job that runs, or that a launcher was ordered to start."""

    def __init__(
        self, entry: QueuedJob, attempt: Attempt, running: Running, mark: str, *, ours: bool
    ) -> None:
        self.entry = entry
        self.attempt = attempt
        self.running = running  #: the attempt as plans see it
        self._mark = mark
        self.ours = ours  #: True if its lease is ours; False: an earlier server has started it
        self.is_orphan = False  #: True if its launcher is gone
        self.stop_reason = ""  #: why we have stopped it
        self.end: JournalEntry | None = None  #: of its first process; others may still live
        self.held_ticks = 0  #: since boot: its process was last seen then, so its pid was its own

    @property
    def needs_polling(self) -> bool:
        """True if no launcher will report when it is over."""
        return self.is_orphan or self.end is not None

    @property
    def tree(self) -> JobTree:
        """All its processes."""
        return JobTree(self._mark, self.attempt, self.held_ticks)

    def check_process(self) -> bool:
        """True if its first process lives."""
        now_ticks = boot_ticks()
        lives = is_running(self.attempt)
        if lives:
            self.held_ticks = now_ticks
        return lives

    def set_process(self, entry: JournalEntry) -> None:
        """Record the process that a launcher has reported."""
        self.attempt = self.attempt._replace(
            pid=entry.pid, start_ticks=entry.start_ticks, last_ticks=entry.last_ticks
        )
        self.update_running()

    def update_running(self) -> None:
        """Copy the process to `running`. For an earlier server's job, also its start time."""
        running = self.running._replace(pid=self.attempt.pid or 0)
        if not self.ours and self.attempt.start_ticks:
            started_s = time.monotonic() - age_s(self.attempt.start_ticks)
            running = running._replace(started_s=started_s)
        self.running = running


def earlier_job(entry: QueuedJob, attempt: Attempt, mark: str, stop_reason: str) -> RunningJob:
    """Return a job that an earlier server has started."""
    ago_s = max(0.0, time.time() - attempt.started_s)  # until its process is known
    started_s = time.monotonic() - ago_s
    running = Running(job_of(entry), attempt.gpu_names, 0, started_s, attempt.started_s)
    job = RunningJob(entry, attempt, running, mark, ours=False)
    job.update_running()
    job.stop_reason = stop_reason
    return job
