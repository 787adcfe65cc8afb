"""The launchers of a server: the one that takes its orders, and earlier ones with jobs left."""

from __future__ import annotations

import os
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.gpus.environ import MODEST, gpu_environ
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

#: A launcher remembers settings, and its journal grows. After so many jobs or settings it retires:
#: it ends after its last job, and another launcher takes the next starts.
_MOST_JOBS, _MOST_SETTINGS = 50_000, 500

#: What the environment of a job depends on: the context, the GPUs, and whether jobs share them.
_SettingKey = tuple[int, tuple[str, ...], bool]

#: A launcher that ends closes its socket a moment before its lock.
_REACH_LIMIT_S, _REACH_AGAIN_S = 10.0, 0.005


class Launchers:
    """The launchers of a queue, with their journals."""

    def __init__(self, folder: str, store: QueueStore) -> None:
        """Connect to all living launchers, and wait until they have carried out their orders.

        Raises:
            SgsError: a living launcher can't be reached.
        """
        self._folder = folder
        self._store = store
        self._settings: dict[_SettingKey, tuple[Context, dict[bytes, bytes]]] = {}
        self._current: LauncherClient | None = None  # it takes the next starts
        self._retired: list[LauncherClient] = []  # they still have jobs
        self._dead: list[Journal] = []  # the journals of launchers that are gone
        self.mark = queue_mark(folder)  #: in the environment of our jobs' processes
        self.boot = boot_id()
        for journal in journals(folder):
            if self._connect(journal):
                journal.close()
            else:
                self._dead.append(journal)

    def _connect(self, journal: Journal) -> bool:
        """Become the server of an earlier launcher, and retire it; False if it has ended.

        Raises:
            SgsError: it lives and can't be reached.
        """
        until_s = time.monotonic() + _REACH_LIMIT_S
        while journal.is_held():
            try:
                launcher = LauncherClient(self._folder, journal.name, None)
            except SgsError:  # perhaps it is just ending
                if time.monotonic() > until_s:
                    raise
                time.sleep(_REACH_AGAIN_S)
                continue
            launcher.retire()
            self._retired.append(launcher)
            return True
        return False

    def __iter__(self) -> Iterator[LauncherClient]:
        yield from self._retired
        if self._current is not None:
            yield self._current

    @property
    def name(self) -> str:
        """The name of the launcher that takes the next starts; one is started if needed.

        Raises:
            SgsError: no launcher can be started.
        """
        if self._current is None:
            self._current = start_launcher(self._folder)
        return self._current.name

    # evidence

    def evidence_at_start(self) -> Evidence:
        """Return what is known of the attempts of earlier servers."""
        journals = [*self._dead, *(launcher.journal for launcher in self._retired)]
        return self._evidence(self._retired, journals)

    def evidence_of(self, launcher: LauncherClient) -> Evidence:
        """Return what is known of the attempts of a living launcher."""
        return self._evidence([launcher], [launcher.journal])

    def remove(self, launcher: LauncherClient) -> Evidence:
        """Remove a launcher that is gone; returns what is known of its attempts."""
        evidence = self._evidence([], [launcher.journal])
        if launcher is self._current:
            self._current = None
        else:
            self._retired.remove(launcher)
        launcher.close()
        self._dead.append(launcher.journal)
        return evidence

    def remove_dead_journals(self, needed: Container[str]) -> None:
        """Remove journals of dead launchers, once all their entries are in the queue's file.

        Args:
            needed: the names of launchers with attempts that haven't ended: the next server may
                need their journals.
        """
        for journal in self._dead:
            if journal.name not in needed:
                step("forgetting")
                journal.remove()
                journal.close()
        self._dead = [journal for journal in self._dead if journal.name in needed]

    def _evidence(self, living: Sequence[LauncherClient], journals: Iterable[Journal]) -> Evidence:
        entries: dict[AttemptKey, dict[str, JournalEntry]] = {}
        for journal in journals:
            for entry in journal.read_all():
                entries.setdefault((entry.job, entry.attempt), {})[entry.kind] = entry
        return Evidence(
            self.boot,
            frozenset(launcher.name for launcher in living if launcher.answers),
            frozenset(launcher.name for launcher in living if not launcher.answers),
            entries,
            is_running,
            lambda attempt: JobTree(self.mark, attempt).first(),
        )

    # orders

    def order(self, entry: QueuedJob, attempt: Attempt, job: Job, lease: Lease) -> bool:
        """Order the launcher of an attempt to start it; False if no order was sent.

        The server may have given up on that launcher meanwhile. Then no other one may start the
        attempt: its entries would stand in another journal than the next server looks in.
        """
        launcher = self._current
        if launcher is None or launcher.name != attempt.launcher:
            return False
        try:
            setting = self._send_setting(
                launcher, (entry.context, attempt.gpu_names, _is_shared(job))
            )
            launcher.start(entry.id, attempt.number, entry.command, setting, lease.id, lease.fd)
        except OSError:
            self._give_up_on(launcher)
        return True

    def _send_setting(self, launcher: LauncherClient, key: _SettingKey) -> int:
        """Tell the launcher where and with which environment such jobs run; returns its number.

        Raises:
            OSError: the launcher is gone or doesn't read.
        """
        if key not in self._settings:
            context_id, gpus, shared = key
            context = self._store.context(context_id)
            self._settings[key] = context, self._environ(context, gpus, shared)
        return launcher.set(key, *self._settings[key])

    def _give_up_on(self, launcher: LauncherClient) -> None:
        """Let another launcher take the next starts, as this one doesn't read its orders."""
        with suppress(SgsError):  # it is gone, and its journal says which orders it carried out
            launcher.reconnect()
            self._retired.append(launcher)
            self._current = None

    def _environ(
        self, context: Context, gpus: tuple[str, ...], shared: bool
    ) -> dict[bytes, bytes]:
        """Return the submitter's environment with the variables that we add."""
        return {
            **(_encoded(MODEST) if shared else {}),
            **dict(context.environ),
            **_encoded(gpu_environ(gpus)),
            process_tree.RUN_VARIABLE: self.mark.encode(),
        }

    def retire_if_old(self) -> None:
        """Let another launcher take the next starts, if the current one has done enough."""
        current = self._current
        if current is not None and (
            current.jobs >= _MOST_JOBS or current.settings >= _MOST_SETTINGS
        ):
            current.retire()
            self._retired.append(current)
            self._current = None
            self._settings.clear()


def _encoded(environ: Mapping[str, str]) -> dict[bytes, bytes]:
    return {os.fsencode(name): os.fsencode(value) for name, value in environ.items()}


def _is_shared(job: Job) -> bool:
    """True if the job is not alone on its GPUs, or its memory is to be measured."""
    return job.units != GPU_UNITS or job.auto_memory or job.memory_mib is not None
