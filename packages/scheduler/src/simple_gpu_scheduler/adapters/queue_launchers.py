"""The launchers of a server: the one that takes its orders, and those of servers before it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial

from simple_gpu_scheduler.adapters import process_tree
from simple_gpu_scheduler.adapters.gpu_environ import LEASE_VARIABLE, MODEST, gpu_environ
from simple_gpu_scheduler.adapters.launcher import Journal, Launcher, journals, start_launcher
from simple_gpu_scheduler.adapters.queue_processes import (
    boot_id,
    is_running,
    log_path,
    marked,
    queue_mark,
)
from simple_gpu_scheduler.adapters.queue_store import QueueStore
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.model import GPU_UNITS
from simple_gpu_scheduler.ports import Lease
from simple_gpu_scheduler.queue.journal import Note
from simple_gpu_scheduler.queue.records import Attempt, Context, Entry
from simple_gpu_scheduler.queue.recovery import AttemptKey, Facts


class Launchers:
    """Those that live, with what they have written down."""

    def __init__(self, folder: str, store: QueueStore) -> None:
        """Listen to all of them; waits until each has done what an earlier server asked for."""
        self._folder = folder
        self._store = store
        self._contexts: dict[int, Context] = {}
        self._current: Launcher | None = None  # that takes our starts
        self._old: list[Launcher] = []  # they still have jobs
        self._journals = journals(folder)  # of all that there were
        self.mark = queue_mark(folder)  #: of our jobs' processes
        self.boot = boot_id()
        for journal in [one for one in self._journals if one.is_held()]:
            with suppress(SgsError):  # it has ended meanwhile
                self._old.append(Launcher(folder, journal.name, None))

    def __iter__(self) -> Iterator[Launcher]:
        yield from self._old
        if self._current is not None:
            yield self._current

    @property
    def name(self) -> str:
        """The name of the one that takes our starts; it is started if need be."""
        return self._to_start_with().name

    def facts_at_start(self) -> Facts:
        """What is known of the attempts of earlier servers."""
        return self._facts(frozenset(one.name for one in self._old), self._journals)

    def forget_the_dead(self) -> None:
        """All that their journals tell is in the queue's file by now."""
        living = {one.name for one in self._old}
        for journal in self._journals:
            if journal.name not in living:
                journal.remove()
            journal.close()
        self._journals = []

    def bury(self, launcher: Launcher) -> Facts:
        """A launcher is gone; returns what is known of its attempts."""
        facts = self._facts(frozenset(), [launcher.journal])
        if launcher is self._current:
            self._current = None
        else:
            self._old.remove(launcher)
        launcher.close()
        return facts

    def order(self, entry: Entry, attempt: Attempt, lease: Lease) -> None:
        """Have the attempt started."""
        context_id = entry.context
        if context_id not in self._contexts:
            self._contexts[context_id] = self._store.context(context_id)
        with suppress(OSError):  # it is gone: its journal tells whether it has heard that
            self._to_start_with().start(
                entry.id,
                attempt.number,
                entry.command,
                context_id,
                self._contexts[context_id],
                self._environ(entry, attempt, lease),
                log_path(self._folder, entry.id, attempt.number),
                lease.fd,
            )

    def _environ(self, entry: Entry, attempt: Attempt, lease: Lease) -> dict[str, str]:
        """What a job's environment has beside its submitter's."""
        return {
            **(MODEST if entry.units != GPU_UNITS else {}),
            **gpu_environ(attempt.gpu_names),
            LEASE_VARIABLE: lease.id,
            "SGS_JOB": str(entry.id),
            "SGS_ATTEMPT": str(attempt.number),
            process_tree.RUN_VARIABLE.decode(): self.mark,
            process_tree.SEQ_VARIABLE.decode(): str(entry.id),
        }

    def _to_start_with(self) -> Launcher:
        if self._current is None:
            self._current = start_launcher(self._folder)
        return self._current

    def _facts(self, alive: frozenset[str], known: Iterable[Journal]) -> Facts:
        notes: dict[AttemptKey, dict[str, Note]] = {}
        for journal in known:
            for note in journal.read_all():
                notes.setdefault((note.job, note.attempt), {})[note.what] = note
        has_marked = partial(marked, self.mark)
        return Facts(self.boot, alive, notes, is_running, lambda one: has_marked(one.job))
