"""Runs jobs as processes, each with a session of its own."""

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

#: Python ignores these signals, and a child would inherit that.
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)

#: A file action of posix_spawn(3): its kind, the descriptor here, the descriptor in the child.
_Action = tuple[int, int, int]


class Outputs(Protocol):
    """Where the output of jobs goes, if not to that of the scheduler."""

    def open(self, job: Job) -> tuple[int, int]:
        """Open descriptors for a job's stdout and stderr; the caller closes them.

        Raises:
            OSError: They can't be opened.
            HopelessError: They can never be opened for this job.
            SgsError: They can never be opened for any job.
        """
        ...

    def last_words(self, job: Job) -> bytes:
        """Return the end of what the job printed."""
        ...


class ProcessRunner:
    """Implements `processes.ports.Runner` by posix_spawn(3) and wait4(2).

    A job's stdin is /dev/null, so that it can't read the commands of other jobs. It sees its GPUs
    in CUDA_VISIBLE_DEVICES, in PCI order: index 0 is the GPU that nvidia-smi calls 0.
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
        """Nothing is started yet.

        Args:
            shell: The path of the shell that runs the commands.
            environ: The environment of all jobs.
            run_id: The mark of this run, which its processes carry.
            outputs: Where the output of jobs goes (default: to that of the scheduler).
            stdout_fd: The descriptor for the stdout of jobs.
        """
        self._shell = shell
        self._run_id = run_id
        self._environ = {**environ, process_tree.RUN_VARIABLE: run_id}
        self._environs: dict[tuple[tuple[str, ...], bool], dict[bytes, bytes]] = {}
        self._outputs = outputs
        null_fd = os.open(os.devnull, os.O_RDONLY)
        self._actions: list[_Action] = [(os.POSIX_SPAWN_DUP2, null_fd, 0)]
        if stdout_fd != 1:
            self._actions.append((os.POSIX_SPAWN_DUP2, stdout_fd, 1))
        self._start_ticks = boot_ticks()
        self._children: dict[int, tuple[int, int]] = {}  # each started between these two ticks
        self._ended: dict[int, FirstProcess] = {}  # ended jobs that may have leftovers
        self._relay: StderrRelay | None = None  # once a job asks for memory
        self._relayed: dict[int, tuple[int, int]] = {}  # by pid: the number in the relay, and seq
        self._last_output: dict[int, bytes] = {}  # of failed jobs, by seq, until `last_words`

    def start(self, job: Job, gpus: tuple[str, ...], lease: Lease | None = None) -> int:
        """Start a job; see `processes.ports.Runner`."""
        shared = job.units != GPU_UNITS or job.auto_memory  # `auto`: its real need is measured
        environ = self._environs.get((gpus, shared)) or self._environ_for(gpus, shared)
        environ[process_tree.SEQ_VARIABLE] = b"%d" % job.seq
        actions = self._actions
        if lease is not None:  # onto itself: so the job inherits it
            environ[_LEASE] = lease.id.encode()
            actions = [*actions, (os.POSIX_SPAWN_DUP2, lease.fd, lease.fd)]
        before_ticks = boot_ticks()
        if self._outputs is not None:
            pid = self._spawn_into(self._outputs, job, environ, actions)
        elif job.memory_mib is not None:
            pid = self._spawn_relayed(job, environ, actions)
        else:
            pid = self._spawn(job.command, environ, actions)
        self._children[pid] = before_ticks, boot_ticks()
        return pid

    def reap(self) -> Exit | None:
        """Return a job that has ended; see `processes.ports.Runner`."""
        while self._children:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return None
            if pid in self._children:  # else a child of the program that executed this one
                self._ended[pid] = FirstProcess(pid, *self._children.pop(pid), boot_ticks())
                code = os.waitstatus_to_exitcode(status)
                exit_code, number = (None, -code) if code < 0 else (code, None)
                peak_mib = usage.ru_maxrss / 1024
                self._keep_last_output(pid, failed=code != 0)
                return Exit(pid, exit_code, number, usage.ru_utime, usage.ru_stime, peak_mib)
        return None

    def last_words(self, job: Job) -> bytes:
        """Return the end of the job's output files, or of its relayed stderr (only once)."""
        if self._outputs is not None:
            return self._outputs.last_words(job)
        return self._last_output.pop(job.seq, b"")

    def signal(self, pid: int, seq: int, number: int) -> int:
        """Signal the whole process tree; see `processes.ports.Runner`."""
        return tree_signals.signal_all(lambda: self._members(pid, seq), number)

    def leftovers(self, pid: int, seq: int, *, thorough: bool) -> tuple[Leftover, ...]:
        """Return the processes of an ended job that still live; see `processes.ports.Runner`."""
        is_searched = thorough or tree_signals.has_group(pid)
        members = self._members(pid, seq) if is_searched else ()
        if not members or not thorough:
            self._ended.pop(pid, None)  # nobody asks for them again
        return tuple(Leftover(member.pid, proc.name(member.pid)) for member in members)

    def survivors(self) -> dict[int, tuple[Leftover, ...]]:
        """Return the leftovers of all ended jobs, by job; see `processes.ports.Runner`."""
        survivors = process_tree.survivors(self._run_id, self._start_ticks)
        return {
            seq: tuple(Leftover(pid, proc.name(pid)) for pid in pids)
            for seq, pids in survivors.items()
        }

    def _members(self, pid: int, seq: int) -> tuple[process_tree.Member, ...]:
        running = self._children.get(pid)
        first = self._ended.get(pid) if running is None else FirstProcess(pid, *running)
        return process_tree.members(first or FirstProcess(0, self._start_ticks), self._run_id, seq)

    def _environ_for(self, gpus: tuple[str, ...], shared: bool) -> dict[bytes, bytes]:
        modest = _encoded(SHARED_GPU_ENVIRON) if shared else {}
        environ = {**modest, **self._environ, **_encoded(gpu_environ(gpus))}
        if len(self._environs) > 1000:  # there are few sets of GPUs, but any number is possible
            self._environs.clear()
        self._environs[gpus, shared] = environ
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
            redirections = [(os.POSIX_SPAWN_DUP2, here, child) for here, child in duplicates]
            return self._spawn(job.command, environ, [*actions, *redirections])
        finally:
            os.close(stdout_fd)
            os.close(stderr_fd)

    def _spawn_relayed(
        self, job: Job, environ: Mapping[bytes, bytes], actions: list[_Action]
    ) -> int:
        """Start a job and keep the end of its stderr: it may say that GPU memory is lacking."""
        if self._relay is None:
            from simple_gpu_scheduler.processes.stderr_relay import StderrRelay

            self._relay = StderrRelay(self._environ)
        number, stderr_fd = self._relay.open()
        try:
            redirection = (os.POSIX_SPAWN_DUP2, stderr_fd, 2)
            pid = self._spawn(job.command, environ, [*actions, redirection])
        except BaseException:
            self._relay.last_words(number)  # so that the relay forgets it
            raise
        finally:
            os.close(stderr_fd)
        self._relayed[pid] = number, job.seq
        return pid

    def _keep_last_output(self, pid: int, *, failed: bool) -> None:
        """Wait until all stderr of an ended job is passed on; keep its end if the job failed."""
        number, seq = self._relayed.pop(pid, (None, 0))
        if self._relay is None or number is None:
            return
        output = self._relay.last_words(number)
        if failed:
            self._last_output[seq] = output


def _encoded(environ: Mapping[str, str]) -> dict[bytes, bytes]:
    return {os.fsencode(name): os.fsencode(value) for name, value in environ.items()}
