"""Jobs as real processes, each with a session of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from simple_gpu_scheduler.gpus.environ import LEASE_VARIABLE, SHARED_GPU_ENVIRON, gpu_environ
from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job
from simple_gpu_scheduler.leases.records import Lease
from simple_gpu_scheduler.processes import tree as process_tree
from simple_gpu_scheduler.processes import tree_signals
from simple_gpu_scheduler.processes.membership import FirstProcess
from simple_gpu_scheduler.processes.records import Exit, Leftover
from simple_gpu_scheduler.system import proc
from simple_gpu_scheduler.system.proc import boot_ticks

if TYPE_CHECKING:
    from simple_gpu_scheduler.processes.stderr_relay import StderrRelay

_LEASE = LEASE_VARIABLE.encode()

#: Python ignores these, and a spawned child would inherit that.
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)

#: setsid(2), then signals as a fresh program expects them.
_Action = tuple[int, int, int]


class Outputs(Protocol):
    """Where a job's output goes, if not simply to ours."""

    def open(self, job: Job) -> tuple[int, int]:
        """Descriptors for its stdout and stderr; the caller closes them.

        Raises:
            OSError: they can't be had.
            HopelessError: they can't be had for this job.
            SgsError: they can't be had for any.
        """
        ...

    def last_words(self, job: Job) -> bytes:
        """The end of what it printed."""
        ...


class ProcessRunner:
    """Implements `ports.Runner` by posix_spawn(3) and wait4(2).

    A job's stdin is /dev/null, so that it can't eat the queue; it sees its GPUs in
    CUDA_VISIBLE_DEVICES, in PCI order, so that index 0 is the card nvidia-smi calls 0.
    """

    def __init__(
        self,
        shell: str,
        environ: Mapping[bytes, bytes],
        run_id: bytes,
        *,
        outputs: Outputs | None = None,
        stdout_fd: int = 1,
    ) -> None:
        self._shell = shell
        self._run_id = run_id
        self._environ = {**environ, process_tree.RUN_VARIABLE: run_id}
        self._by_gpus: dict[tuple[tuple[str, ...], bool], dict[bytes, bytes]] = {}
        self._outputs = outputs
        null_fd = os.open(os.devnull, os.O_RDONLY)
        self._actions: list[_Action] = [(os.POSIX_SPAWN_DUP2, null_fd, 0)]
        if stdout_fd != 1:
            self._actions.append((os.POSIX_SPAWN_DUP2, stdout_fd, 1))
        self._began_ticks = boot_ticks()
        self._children: dict[int, tuple[int, int]] = {}  # and when each was started: between these
        self._ended: dict[int, FirstProcess] = {}  # of whose trees something may be left
        self._pump: StderrRelay | None = None  # once a job asks for memory
        self._pumped: dict[int, tuple[int, int]] = {}  # running ones: number there, and line
        self._words: dict[int, bytes] = {}  # of those that failed, by line, until asked for

    def start(self, job: Job, gpus: tuple[str, ...], lease: Lease | None = None) -> int:
        """Start the job; see `ports.Runner`."""
        shared = job.units != GPU_UNITS or job.auto_memory  # alone, it is to be measured
        environ = self._by_gpus.get((gpus, shared)) or self._environ_for(gpus, shared)
        environ[process_tree.SEQ_VARIABLE] = b"%d" % job.seq
        actions = self._actions
        if lease is not None:  # onto itself: that makes the job inherit it
            environ[_LEASE] = lease.id.encode()
            actions = [*actions, (os.POSIX_SPAWN_DUP2, lease.fd, lease.fd)]
        before = boot_ticks()
        if self._outputs is not None:
            pid = self._spawn_into(self._outputs, job, environ, actions)
        elif job.memory_mib is not None:
            pid = self._spawn_pumped(job, environ, actions)
        else:
            pid = self._spawn(job.command, environ, actions)
        self._children[pid] = before, boot_ticks()
        return pid

    def reap(self) -> Exit | None:
        """A job that has ended; see `ports.Runner`."""
        while self._children:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return None
            if pid in self._children:  # else somebody's child from before we were executed
                self._ended[pid] = FirstProcess(pid, *self._children.pop(pid), boot_ticks())
                code = os.waitstatus_to_exitcode(status)
                exit_code, number = (None, -code) if code < 0 else (code, None)
                peak_mib = usage.ru_maxrss / 1024
                self._listen(pid, failed=code != 0)
                return Exit(pid, exit_code, number, usage.ru_utime, usage.ru_stime, peak_mib)
        return None

    def last_words(self, job: Job) -> bytes:
        """The end of its output where that goes to files, else of a pumped stderr; once."""
        if self._outputs is not None:
            return self._outputs.last_words(job)
        return self._words.pop(job.seq, b"")

    def signal(self, pid: int, seq: int, number: int) -> int:
        """Signal the whole tree; see `ports.Runner`."""
        return tree_signals.signal_all(lambda: self._members(pid, seq), number)

    def leftovers(self, pid: int, seq: int, *, thorough: bool) -> tuple[Leftover, ...]:
        """Processes of an ended job that still live; see `ports.Runner`."""
        look = thorough or tree_signals.has_group(pid)
        members = self._members(pid, seq) if look else ()
        if not members or not thorough:
            self._ended.pop(pid, None)  # nobody asks again
        return tuple(Leftover(one.pid, proc.name(one.pid)) for one in members)

    def survivors(self) -> dict[int, tuple[Leftover, ...]]:
        """What ended jobs left behind, by job, wherever it is; see `ports.Runner`."""
        found = process_tree.survivors(self._run_id, self._began_ticks)
        return {
            seq: tuple(Leftover(pid, proc.name(pid)) for pid in pids)
            for seq, pids in found.items()
        }

    def _members(self, pid: int, seq: int) -> tuple[process_tree.Member, ...]:
        running = self._children.get(pid)
        first = self._ended.get(pid) if running is None else FirstProcess(pid, *running)
        return process_tree.members(first or FirstProcess(0, self._began_ticks), self._run_id, seq)

    def _environ_for(self, gpus: tuple[str, ...], shared: bool) -> dict[bytes, bytes]:
        modest = _encoded(SHARED_GPU_ENVIRON) if shared else {}
        environ = {**modest, **self._environ, **_encoded(gpu_environ(gpus))}
        if len(self._by_gpus) > 1000:  # sets of GPUs are few, but their number is not bounded
            self._by_gpus.clear()
        self._by_gpus[gpus, shared] = environ
        return environ

    def _spawn(
        self, command: bytes, environ: Mapping[bytes, bytes], actions: list[_Action]
    ) -> int:
        return os.posix_spawn(
            self._shell,
            (self._shell, b"-c", command),
            environ,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=IGNORED_BY_PYTHON,
        )

    def _spawn_into(
        self, outputs: Outputs, job: Job, environ: Mapping[bytes, bytes], actions: list[_Action]
    ) -> int:
        stdout_fd, stderr_fd = outputs.open(job)
        try:
            duplicates = ((stdout_fd, 1), (stderr_fd, 2))
            into = [(os.POSIX_SPAWN_DUP2, ours, theirs) for ours, theirs in duplicates]
            return self._spawn(job.command, environ, [*actions, *into])
        finally:
            os.close(stdout_fd)
            os.close(stderr_fd)

    def _spawn_pumped(
        self, job: Job, environ: Mapping[bytes, bytes], actions: list[_Action]
    ) -> int:
        """With the end of its stderr kept, as it may say that the GPU's memory was too little."""
        if self._pump is None:
            from simple_gpu_scheduler.processes.stderr_relay import StderrRelay

            self._pump = StderrRelay(self._environ)
        number, stderr_fd = self._pump.open()
        try:
            into = (os.POSIX_SPAWN_DUP2, stderr_fd, 2)
            pid = self._spawn(job.command, environ, [*actions, into])
        except BaseException:
            self._pump.last_words(number)  # so that it is forgotten there
            raise
        finally:
            os.close(stderr_fd)
        self._pumped[pid] = number, job.seq
        return pid

    def _listen(self, pid: int, *, failed: bool) -> None:
        """See to it that all of an ended job's stderr is passed on; keep the end of it."""
        number, seq = self._pumped.pop(pid, (None, 0))
        if self._pump is None or number is None:
            return
        words = self._pump.last_words(number)
        if failed:
            self._words[seq] = words


def _encoded(environ: Mapping[str, str]) -> dict[bytes, bytes]:
    return {os.fsencode(name): os.fsencode(value) for name, value in environ.items()}
