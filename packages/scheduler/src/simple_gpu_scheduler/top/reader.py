"""Reads the part of the queue that the screen shows, in a thread of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence

from simple_gpu_scheduler.queue.home import DATABASE, QueueHome
from simple_gpu_scheduler.queue.records import QueuedJob
from simple_gpu_scheduler.queue.store import pages as queue_view
from simple_gpu_scheduler.queue.store.contexts import decoded
from simple_gpu_scheduler.queue.store.pages import QueuePages, by_section, by_state
from simple_gpu_scheduler.top.screen.details import JobFacts
from simple_gpu_scheduler.top.screen.header import Server
from simple_gpu_scheduler.top.screen.scroll import Slice, followed, position, slices
from simple_gpu_scheduler.top.screen.state import VIEWS, Query, QueueState


class QueueReader:
    """Reads a queue. Only one thread may use it."""

    def __init__(self) -> None:
        """Open the queue.

        Raises:
            SgsError: it can't be used.
        """
        self.home = QueueHome()
        self.view = QueuePages(os.path.join(self.home.folder, DATABASE))

    def close(self) -> None:
        """Close the queue."""
        self.view.close()
        self.home.store.close()

    def read(self, query: Query) -> QueueState:
        """Read what the query asks for.

        Raises:
            SgsError: it can't be read.
        """
        order = VIEWS[query.view]
        counts = self.view.counts()
        sizes = by_section(self.view.counts(query.words) if query.words else counts)
        total = sum(sizes[name] for name in order)
        at = self._line(query, sizes, order)
        scroll = followed(query.scroll, at, total, query.rows)
        first = max(0, scroll.top - query.rows)
        entries = self._entries(query, slices(sizes, order, first, 3 * query.rows))
        subject = self._subject(query, entries, scroll.cursor - first)
        return QueueState(
            by_state(counts), total, scroll, first, entries,
            frozenset(job for job, _ in self.home.store.to_be_stopped()),
            tuple(self.view.on_gpus()), self._server(), self._slots(), subject,
            JobFacts() if subject is None else self._facts_of(subject),
            self._entry(query.scroll.job) if at is None else None,
        )  # fmt: skip

    def _line(self, query: Query, sizes: dict[str, int], order: Sequence[str]) -> int | None:
        """Where the job is now that the cursor goes with."""
        at = None if query.scroll.job is None else self.view.place(query.scroll.job, query.words)
        return None if at is None else position(sizes, order, *at)

    def _entries(self, query: Query, wanted: Sequence[Slice]) -> tuple[QueuedJob, ...]:
        jobs: list[int] = []
        for section, first, most in wanted:
            jobs += self.view.jobs(section, query.words, first, most)
        by_id = {entry.id: entry for entry in self.home.store.entries(jobs=jobs)}
        return tuple(by_id[job] for job in jobs if job in by_id)

    def _server(self) -> Server:
        drained = self.home.store.setting("drained") == "1"
        return Server(self.home.server_pid() is not None, drained)

    def _slots(self) -> tuple[str, ...]:
        return tuple(filter(None, self.home.store.setting("gpus").split(",")))

    def _entry(self, job: int | None) -> QueuedJob | None:
        return None if job is None else self.home.store.entry(job)

    def _subject(
        self, query: Query, entries: Sequence[QueuedJob], chosen: int
    ) -> QueuedJob | None:
        if query.job is not None:
            return self.home.store.entry(query.job)
        return entries[chosen] if 0 <= chosen < len(entries) else None

    def _facts_of(self, entry: QueuedJob) -> JobFacts:
        at = self.view.place(entry.id)
        before = at[1] if at is not None and at[0] == queue_view.READY else None
        log = self.home.log_path(entry.id, entry.attempt) if entry.attempt else ""
        return JobFacts(self._cwd(entry), before, log)

    def _cwd(self, entry: QueuedJob) -> bytes:
        """The folder that it runs in; empty if `sgs clean` has removed the job meanwhile."""
        rows = self.home.store.file.all(
            "SELECT content FROM contexts WHERE id = ? AND content != x''", (entry.context,)
        )
        return decoded(rows[0][0]).cwd if rows else b""
