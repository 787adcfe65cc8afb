"""Sends events to the listeners and counts how jobs end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.pipe.events import Counts, Event, Notice, Rejected, Skipped
from simple_gpu_scheduler.pipe.ports import Listener
from simple_gpu_scheduler.pipe.shutdown import Shutdown


class Reporter:
    """Tells listeners what happens. A listener that fails makes the run start no more jobs."""

    def __init__(
        self, listeners: Sequence[Listener], shutdown: Shutdown, known_jobs: Callable[[], int]
    ) -> None:
        """`known_jobs` returns the number of jobs in the input as far as it was read."""
        self._handlers = [listener.on_event for listener in listeners]
        self._shutdown = shutdown
        self._known_jobs = known_jobs
        self._tally = dict.fromkeys(Counts._fields, 0)
        self._has_warned = False  # that the input has changed

    @property
    def counts(self) -> Counts:
        """How many jobs came to which end."""
        return Counts(**self._tally)

    def report(self, event: Event) -> None:
        """Send an event to all listeners."""
        for handle in self._handlers:
            try:
                handle(event)
            except SgsError as error:
                self.give_up(str(error))

    def notify(self, text: str) -> None:
        """Send a message for the user."""
        self.report(Notice(text))

    def count(self, tally: str, event: Event) -> None:
        """Count a job in a field of `Counts`, report its event, and check --halt."""
        self._tally[tally] += 1
        self.report(event)
        rule = self._shutdown.rule
        if rule is not None and self._shutdown.check_halt(self.counts, self._known_jobs()):
            self.notify(f"--halt {rule}: starting no more jobs")

    def count_unstarted(self, jobs: int) -> None:
        """Set the number of jobs that were read but not started."""
        self._tally["unstarted"] = jobs

    def count_not_run(self, event: Rejected | Skipped) -> None:
        """Count a line that does not run: a rejected one counts as failed."""
        if isinstance(event, Rejected):
            self.count("failed", event)
        else:
            self.count("skipped", event)
            self._warn_if_changed(event)

    def give_up(self, text: str) -> None:
        """Report an error and start no more jobs, so that no result is lost."""
        rest = "; starting no more jobs" if self._shutdown.give_up() else ""
        self.notify(f"error: {text}{rest}")

    def _warn_if_changed(self, event: Skipped) -> None:
        if event.changed and not self._has_warned:
            self._has_warned = True
            text = f"line {event.seq} is skipped, but the joblog has another command for that job"
            self.notify(f"warning: {text}; was the input changed?")
