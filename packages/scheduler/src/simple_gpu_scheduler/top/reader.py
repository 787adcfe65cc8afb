"""A look at the queue: what a screen shows of it, read in one go in a thread of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence

from simple_gpu_scheduler.queue.home import DATABASE, QueueHome
from simple_gpu_scheduler.queue.records import QueuedJob
from simple_gpu_scheduler.queue.store import pages as queue_view
from simple_gpu_scheduler.queue.store.contexts import decoded
from simple_gpu_scheduler.queue.store.pages import QueuePages, by_section, by_state
from simple_gpu_scheduler.top.screen.details import Known
from simple_gpu_scheduler.top.screen.header import Server
from simple_gpu_scheduler.top.screen.scroll import Part, followed, parts, position
from simple_gpu_scheduler.top.screen.state import VIEWS, Seen, Wish


class Looker:
    """Reads a queue. All of it is to be used by one thread."""

    def __init__(self) -> None:
        """Open the queue.

        Raises:
            SgsError: it can't be used.
        """
        self.home = QueueHome()
        self.view = QueuePages(os.path.join(self.home.folder, DATABASE))

    def close(self) -> None:
        """Let the queue go."""
        self.view.close()
        self.home.store.close()

    def look(self, wish: Wish) -> Seen:
        """See what is there now.

        Raises:
            SgsError: it can't be read.
        """
        order = VIEWS[wish.view]
        counts = self.view.counts()
        sizes = by_section(self.view.counts(wish.words) if wish.words else counts)
        total = sum(sizes[name] for name in order)
        at = self._line(wish, sizes, order)
        place = followed(wish.place, at, total, wish.rows)
        first = max(0, place.top - wish.rows)
        entries = self._entries(wish, parts(sizes, order, first, 3 * wish.rows))
        subject = self._subject(wish, entries, place.cursor - first)
        return Seen(
            by_state(counts), total, place, first, entries,
            frozenset(job for job, _ in self.home.store.to_be_stopped()),
            tuple(self.view.on_gpus()), self._server(), self._slots(), subject,
            Known() if subject is None else self._known(subject),
            self._entry(wish.place.job) if at is None else None,
        )  # fmt: skip

    def _line(self, wish: Wish, sizes: dict[str, int], order: Sequence[str]) -> int | None:
        """Where the job is now that the cursor goes with."""
        at = None if wish.place.job is None else self.view.place(wish.place.job, wish.words)
        return None if at is None else position(sizes, order, *at)

    def _entries(self, wish: Wish, wanted: Sequence[Part]) -> tuple[QueuedJob, ...]:
        jobs: list[int] = []
        for section, first, most in wanted:
            jobs += self.view.jobs(section, wish.words, first, most)
        found = {one.id: one for one in self.home.store.entries(jobs=jobs)}
        return tuple(found[job] for job in jobs if job in found)

    def _server(self) -> Server:
        drained = self.home.store.setting("drained") == "1"
        return Server(self.home.server_pid() is not None, drained)

    def _slots(self) -> tuple[str, ...]:
        return tuple(filter(None, self.home.store.setting("gpus").split(",")))

    def _entry(self, job: int | None) -> QueuedJob | None:
        return None if job is None else self.home.store.entry(job)

    def _subject(self, wish: Wish, entries: Sequence[QueuedJob], chosen: int) -> QueuedJob | None:
        if wish.job is not None:
            return self.home.store.entry(wish.job)
        return entries[chosen] if 0 <= chosen < len(entries) else None

    def _known(self, entry: QueuedJob) -> Known:
        at = self.view.place(entry.id)
        before = at[1] if at is not None and at[0] == queue_view.READY else None
        log = self.home.log_path(entry.id, entry.attempt) if entry.attempt else ""
        return Known(self._cwd(entry), before, log)

    def _cwd(self, entry: QueuedJob) -> bytes:
        """The folder that it runs in; empty if `sgs clean` has removed the job meanwhile."""
        rows = self.home.store.file.all(
            "SELECT content FROM contexts WHERE id = ? AND content != x''", (entry.context,)
        )
        return decoded(rows[0][0]).cwd if rows else b""
