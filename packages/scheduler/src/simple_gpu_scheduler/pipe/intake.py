"""From lines to jobs: which lines are run, which are skipped, which can't be run."""

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

#: Jobs held ready. Few, so that neither memory nor the first start depends on the input's length.
WINDOW = 64


class Intake:
    """The head of the queue: the next few jobs of a source that never has to be read whole."""

    def __init__(
        self,
        source: Source,
        template: Job,
        cards: Sequence[Card],
        done: Done,
        tell: Callable[[Rejected | Skipped], None],
        wall_s: Callable[[], float],
    ) -> None:
        """`template` holds what the command line asks for each job; `done` the lines to skip."""
        self.waiting: deque[Job] = deque()
        self.blank = 0  #: lines that are no job
        self._source = source
        self._asks = template[2:]
        self._cards = cards
        self._done = done
        self._tell = tell
        self._wall_s = wall_s

    def take(self) -> bool:
        """Fill up the window with what is there, once it is half empty; True if more came."""
        before = len(self.waiting)
        if before > WINDOW // 2:
            return False
        while len(self.waiting) < WINDOW and (line := self._source.take()) is not None:
            self._sort(line)
        return len(self.waiting) > before

    def change(self, change: Callable[[Job], Job]) -> None:
        """Let the jobs that wait ask for something else."""
        self.waiting = deque(map(change, self.waiting))

    def remove(self, job: Job) -> None:
        """This one is about to start; mostly it is the next one."""
        if self.waiting[0] is job:
            self.waiting.popleft()
        else:
            self.waiting.remove(job)

    def put_back(self, job: Job) -> None:
        """Make this job the next one."""
        self.waiting.appendleft(job)

    def _sort(self, line: Line) -> None:
        if not line.command or line.command.isspace():  # it has a number, as in GNU parallel
            self.blank += 1
            return
        if line.seq in self._done:
            self._tell(Skipped(line.seq, not self._done.is_same(line.seq, line.command)))
            return
        job = Job(line.seq, line.command, *self._asks)
        reason = line.reason
        if reason is None:
            try:
                job = apply_directives(job)
            except UsageError as error:
                reason = str(error)
        reason = reason or impossible(job, len(self._cards), self._cards)
        if reason is None:
            self.waiting.append(job)
        else:
            self._tell(Rejected(line.seq, line.command, reason, self._wall_s()))
