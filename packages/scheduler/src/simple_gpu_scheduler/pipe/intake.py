"""From lines to jobs: decides which lines run, which are skipped and which are rejected."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.jobs.directives import apply_directives
from simple_gpu_scheduler.jobs.job import Job, Line
from simple_gpu_scheduler.pipe.events import Rejected, Skipped
from simple_gpu_scheduler.pipe.ports import Done, Source
from simple_gpu_scheduler.policy.model import Card
from simple_gpu_scheduler.policy.reasons import impossible

#: The most jobs held ready: neither memory nor the first start depends on the input's length.
WINDOW = 64


class Intake:
    """The next few jobs of a source that never has to be read whole."""

    def __init__(
        self,
        source: Source,
        template: Job,
        gpus: Sequence[Card],
        done: Done,
        on_not_run: Callable[[Rejected | Skipped], None],
        wall_s: Callable[[], float],
        *,
        adjust: Callable[[Job], Job] | None = None,
    ) -> None:
        """Nothing is read yet.

        Args:
            source: The lines of the input.
            template: What the command line asks for each job.
            gpus: The GPUs; a job that could never run on them is rejected.
            done: The lines to skip.
            on_not_run: Called with each line that is skipped or rejected.
            wall_s: Returns the time in seconds since 1970.
            adjust: Returns a job with what it is known to need (default: as it asks).
        """
        self.waiting: deque[Job] = deque()
        self.blank = 0  #: the number of lines that are no jobs
        self._source = source
        self._request = template[2:]
        self._gpus = gpus
        self._done = done
        self._on_not_run = on_not_run
        self._wall_s = wall_s
        self._adjust = adjust

    def take(self) -> None:
        """Fill the window with the lines that are there, once it is half empty."""
        before = len(self.waiting)
        if before > WINDOW // 2:
            return
        while len(self.waiting) < WINDOW and (line := self._source.take()) is not None:
            self._sort(line)
        if len(self.waiting) > before:
            self.update_requests()

    def update_requests(self) -> None:
        """Let the jobs that wait ask for what they are known to need."""
        if self._adjust is not None:
            self.waiting = deque(map(self._adjust, self.waiting))

    def remove(self, job: Job) -> None:
        """Remove a job that is about to start; mostly it is the first one."""
        if self.waiting[0] is job:
            self.waiting.popleft()
        else:
            self.waiting.remove(job)

    def put_back(self, job: Job) -> None:
        """Make this job the next one."""
        self.waiting.appendleft(job)

    def _sort(self, line: Line) -> None:
        """Append the line's job to those that wait, unless it does not run."""
        if not line.command or line.command.isspace():  # it has a number, as in GNU parallel
            self.blank += 1
            return
        if line.seq in self._done:
            has_changed = not self._done.is_same(line.seq, line.command)
            self._on_not_run(Skipped(line.seq, has_changed))
            return
        job = Job(line.seq, line.command, *self._request)
        reason = line.reason
        if reason is None:
            try:
                job = apply_directives(job)
            except UsageError as error:
                reason = str(error)
        reason = reason or impossible(job, len(self._gpus), self._gpus)
        if reason is None:
            self.waiting.append(job)
        else:
            self._on_not_run(Rejected(line.seq, line.command, reason, self._wall_s()))
