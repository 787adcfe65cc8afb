"""The launchers of a server: the one that takes its orders, and those of servers before it."""

from __future__ import annotations

import os
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.gpus.environ import SHARED_GPU_ENVIRON, gpu_environ
from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job
from simple_gpu_scheduler.leases.records import Lease
from simple_gpu_scheduler.processes import tree as process_tree
from simple_gpu_scheduler.queue.journal import JournalEntry
from simple_gpu_scheduler.queue.launcher.client import (
    Journal,
    LauncherClient,
    journals,
    start_launcher,
)
from simple_gpu_scheduler.queue.records import Attempt, Context, QueuedJob
from simple_gpu_scheduler.queue.recovery import AttemptKey, Evidence
from simple_gpu_scheduler.queue.server.processes import (
    JobTree,
    boot_id,
    is_running,
    queue_mark,
)
from simple_gpu_scheduler.queue.store.jobs import QueueStore
from simple_gpu_scheduler.system.failpoints import step

#: A launcher remembers what it was told, and its journal grows: after so many jobs, or so many
#: environments, it does its last ones and another takes over.
_MOST_JOBS, _MOST_SETTINGS = 50_000, 500

#: A context, GPUs, and whether jobs share them: what the environment of jobs goes by.
_Key = tuple[int, tuple[str, ...], bool]

#: One that ends can't be reached any more just before it is gone.
_REACH_LIMIT_S, _REACH_AGAIN_S = 10.0, 0.005


class Launchers:
    """Those that live, with what they have written down."""

    def __init__(self, folder: str, store: QueueStore) -> None:
        """Listen to all of them; waits until each has done what an earlier server asked for.

        Raises:
            SgsError: one lives, and can't be reached.
        """
        self._folder = folder
        self._store = store
        self._settings: dict[_Key, tuple[Context, dict[bytes, bytes]]] = {}
        self._current: LauncherClient | None = None  # that takes our starts
        self._old: list[LauncherClient] = []  # they still have jobs
        self._dead: list[Journal] = []  # of launchers that are gone
        self.mark = queue_mark(folder)  #: of our jobs' processes
        self.boot = boot_id()
        for journal in journals(folder):
            if self._listen_to(journal):
                journal.close()
            else:
                self._dead.append(journal)

    def _listen_to(self, journal: Journal) -> bool:
        """Become the server of a launcher, which is to do its last jobs; False if it has ended.

        Raises:
            SgsError: it lives, and can't be reached.
        """
        until_s = time.monotonic() + _REACH_LIMIT_S
        while journal.is_held():
            try:
                launcher = LauncherClient(self._folder, journal.name, None)
            except SgsError:  # it may just be ending
                if time.monotonic() > until_s:
                    raise
                time.sleep(_REACH_AGAIN_S)
                continue
            launcher.retire()
            self._old.append(launcher)
            return True
        return False

    def __iter__(self) -> Iterator[LauncherClient]:
        yield from self._old
        if self._current is not None:
            yield self._current

    @property
    def name(self) -> str:
        """The name of the one that takes our starts; it is started if need be."""
        return self._to_start_with().name

    def facts_at_start(self) -> Evidence:
        """What is known of the attempts of earlier servers."""
        known = [*self._dead, *(one.journal for one in self._old)]
        return self._facts(self._old, known)

    def facts_of(self, launcher: LauncherClient) -> Evidence:
        """What is known of the attempts of one that lives."""
        return self._facts([launcher], [launcher.journal])

    def forget_the_dead(self, needed: Container[str]) -> None:
        """All that their journals tell stands in the queue's file, on the disk.

        Args:
            needed: names of those whose attempts aren't over: the next server may have to know.
        """
        for journal in self._dead:
            if journal.name not in needed:
                step("forgetting")
                journal.remove()
                journal.close()
        self._dead = [one for one in self._dead if one.name in needed]

    def bury(self, launcher: LauncherClient) -> Evidence:
        """A launcher is gone; returns what is known of its attempts."""
        facts = self._facts([], [launcher.journal])
        if launcher is self._current:
            self._current = None
        else:
            self._old.remove(launcher)
        launcher.close()
        self._dead.append(launcher.journal)
        return facts

    def order(self, entry: QueuedJob, attempt: Attempt, job: Job, lease: Lease) -> bool:
        """Have the attempt started by the launcher that it names; False if nobody was told.

        That launcher may be in doubt since: what another one did would be looked for in the wrong
        journal.
        """
        launcher = self._current
        if launcher is None or launcher.name != attempt.launcher:
            return False
        try:
            setting = self._setting(launcher, entry.context, attempt.gpu_names, _is_shared(job))
            launcher.start(entry.id, attempt.number, entry.command, setting, lease.id, lease.fd)
        except OSError:
            self._doubt(launcher)
        return True

    def _setting(
        self, launcher: LauncherClient, context_id: int, gpus: tuple[str, ...], shared: bool
    ) -> int:
        """The number by which the launcher knows where such jobs run."""
        key = context_id, gpus, shared
        known = self._settings.get(key)
        if known is None:
            context = self._store.context(context_id)
            known = self._settings[key] = context, self._environ(context, gpus, shared)
        return launcher.set(key, *known)

    def _doubt(self, launcher: LauncherClient) -> None:
        """It doesn't listen: another takes the starts from now on."""
        with suppress(SgsError):  # it is gone: its journal tells what it has heard
            launcher.doubt()
            self._old.append(launcher)
            self._current = None

    def _environ(
        self, context: Context, gpus: tuple[str, ...], shared: bool
    ) -> dict[bytes, bytes]:
        """The submitter's environment, with what he has not chosen himself."""
        return {
            **(_encoded(SHARED_GPU_ENVIRON) if shared else {}),
            **dict(context.environ),
            **_encoded(gpu_environ(gpus)),
            process_tree.RUN_VARIABLE: self.mark.encode(),
        }

    def retire_the_old(self) -> None:
        """Have another launcher take the next starts, if this one has done enough."""
        current = self._current
        if current is not None and (
            current.jobs >= _MOST_JOBS or current.settings >= _MOST_SETTINGS
        ):
            current.retire()
            self._old.append(current)
            self._current = None
            self._settings.clear()

    def _to_start_with(self) -> LauncherClient:
        if self._current is None:
            self._current = start_launcher(self._folder)
        return self._current

    def _facts(self, alive: Sequence[LauncherClient], known: Iterable[Journal]) -> Evidence:
        notes: dict[AttemptKey, dict[str, JournalEntry]] = {}
        for journal in known:
            for note in journal.read_all():
                notes.setdefault((note.job, note.attempt), {})[note.what] = note
        return Evidence(
            self.boot,
            frozenset(one.name for one in alive if one.answers),
            frozenset(one.name for one in alive if not one.answers),
            notes,
            is_running,
            lambda one: JobTree(self.mark, one).first(),
        )


def _encoded(environ: Mapping[str, str]) -> dict[bytes, bytes]:
    return {os.fsencode(name): os.fsencode(value) for name, value in environ.items()}


def _is_shared(job: Job) -> bool:
    """True if the job is not alone on its GPUs, or is to be measured."""
    return job.units != GPU_UNITS or job.auto_memory or job.memory_mib is not None
