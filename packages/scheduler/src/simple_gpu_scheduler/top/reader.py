"""Reads the part of the queue that the screen shows."""

from __future__ import annotations

import os
from collections.abc import Sequence

from simple_gpu_scheduler.queue.home import DATABASE, QueueHome
from simple_gpu_scheduler.queue.records import QueuedJob
from simple_gpu_scheduler.queue.store import pages
from simple_gpu_scheduler.queue.store.contexts import decoded
from simple_gpu_scheduler.queue.store.pages import QueuePages, by_section, by_state
from simple_gpu_scheduler.top.screen.details import JobFacts
from simple_gpu_scheduler.top.screen.header import Server
from simple_gpu_scheduler.top.screen.scroll import Slice, find_line, follow_job, slice_sections
from simple_gpu_scheduler.top.screen.state import VIEWS, Query, QueueState


class QueueReader:
    """Reads a queue. Only one thread may use it, because SQLite's connections are not shared."""

    def __init__(self) -> None:
        """Open the queue.

        Raises:
            SgsError: the queue can't be used.
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
            SgsError: the queue can't be read.
        """
        order = VIEWS[query.view]
        counts = self.view.counts()
        sizes = by_section(self.view.counts(query.filter_words) if query.filter_words else counts)
        total = sum(sizes[name] for name in order)
        job_line = self._find_line(query, sizes, order)
        scroll = follow_job(query.scroll, job_line, total, query.rows)
        first = max(0, scroll.top - query.rows)
        entries = self._read_entries(query, slice_sections(sizes, order, first, 3 * query.rows))
        subject = self._read_subject(query, entries, scroll.cursor - first)
        return QueueState(
            by_state(counts), total, scroll, first, entries,
            frozenset(job for job, _ in self.home.store.to_be_stopped()),
            tuple(self.view.on_gpus()), self._read_server(), self._read_slots(), subject,
            JobFacts() if subject is None else self._read_facts(subject),
            self._read_entry(query.scroll.job) if job_line is None else None,
        )  # fmt: skip

    def _find_line(self, query: Query, sizes: dict[str, int], order: Sequence[str]) -> int | None:
        """The line of the job that the cursor follows; None if it is not in the list."""
        at = (
            None
            if query.scroll.job is None
            else self.view.place(query.scroll.job, query.filter_words)
        )
        return None if at is None else find_line(sizes, order, *at)

    def _read_entries(self, query: Query, sections: Sequence[Slice]) -> tuple[QueuedJob, ...]:
        jobs: list[int] = []
        for section, first, length in sections:
            jobs += self.view.jobs(section, query.filter_words, first, length)
        by_id = {entry.id: entry for entry in self.home.store.entries(jobs=jobs)}
        return tuple(by_id[job] for job in jobs if job in by_id)

    def _read_server(self) -> Server:
        drained = self.home.store.setting("drained") == "1"
        return Server(self.home.server_pid() is not None, drained)

    def _read_slots(self) -> tuple[str, ...]:
        return tuple(filter(None, self.home.store.setting("gpus").split(",")))

    def _read_entry(self, job: int | None) -> QueuedJob | None:
        return None if job is None else self.home.store.entry(job)

    def _read_subject(
        self, query: Query, entries: Sequence[QueuedJob], cursor: int
    ) -> QueuedJob | None:
        if query.job is not None:
            return self.home.store.entry(query.job)
        return entries[cursor] if 0 <= cursor < len(entries) else None

    def _read_facts(self, entry: QueuedJob) -> JobFacts:
        at = self.view.place(entry.id)
        before = at[1] if at is not None and at[0] == pages.READY else None
        log = self.home.log_path(entry.id, entry.attempt) if entry.attempt else ""
        return JobFacts(self._read_cwd(entry), before, log)

    def _read_cwd(self, entry: QueuedJob) -> bytes:
        """The folder that the job runs in; empty if `sgs clean` has removed the job meanwhile."""
        rows = self.home.store.file.all(
            "SELECT content FROM contexts WHERE id = ? AND content != x''", (entry.context,)
        )
        return decoded(rows[0][0]).cwd if rows else b""
