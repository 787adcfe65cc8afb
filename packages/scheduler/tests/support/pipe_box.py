"""What the tests of the pipe share: the installed command in real processes, and gates.

No test sleeps for luck. A job that has to stay blocked reads from a gate until the test opens it;
what a job has done is seen in files, which the tests watch with a bound.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from process_state import is_alive
from waiting import BOUND_S, wait_until

STATUS_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE, signal.SIGQUIT)
#: The line about a start.
STARTS = re.compile(rb"^Processing command `[^\n]*` on gpu [^\n]*\n", re.MULTILINE)
_DRIVER_WARNING = "warning: the NVIDIA driver doesn't answer"


def status_field(pid, name):
    """A field of /proc/PID/status as text, or an empty text once the process is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return line.partition(":")[2].strip()
    return ""


class Gate:
    """A FIFO at which jobs wait (`read _ < NAME`) until the test lets them through."""

    def __init__(self, path):
        self.path = path
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR)

    @property
    def wait(self):
        """The shell command that waits here."""
        return f"read _ < {shlex.quote(self.path.name)}"

    def open(self, jobs=1):
        """Let so many jobs through."""
        os.write(self._fd, b"\n" * jobs)

    def close(self):
        os.close(self._fd)


def _carry(file):
    """A pipe whose content ends up in the file."""
    return subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file)


class Result:
    """A run that ended."""

    def __init__(self, status, out, err):
        self.status = status
        starts = STARTS.findall(out) + STARTS.findall(err)
        self.processing = [line.decode(errors="surrogateescape")[:-1] for line in starts]
        self.out_bytes = STARTS.sub(b"", out)  #: what the jobs printed
        self.out = self.out_bytes.decode(errors="surrogateescape")
        self.raw_out = out.decode(errors="surrogateescape")
        self.err = err.decode(errors="surrogateescape")

    @property
    def said(self):
        """What the scheduler itself said beside those."""
        prefix = "simple_gpu_scheduler: "
        lines = self.err.splitlines()
        said = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
        return [line for line in said if _DRIVER_WARNING not in line]

    def __repr__(self):
        return f"status {self.status}\n-- stdout\n{self.raw_out}\n-- stderr\n{self.err}"


class Run:
    """A scheduler that runs."""

    def __init__(self, process, out, err, carriers=()):
        self.process = process
        self.pid = process.pid
        self._carriers = carriers
        self._out = out
        self._err = err

    def write(self, text):
        """Add to the queue."""
        os.write(self.process.stdin.fileno(), text.encode() if isinstance(text, str) else text)

    def end_input(self):
        self.process.stdin.close()

    @property
    def err(self):
        return self._err.read_text(errors="surrogateescape")

    @property
    def out(self):
        return self._out.read_text(errors="surrogateescape")

    def wait_err(self, text, times=1):
        """Until stderr holds the text."""
        wait_until(lambda: self.err.count(text) >= times, lambda: f"{text!r} in {self.err!r}")

    def wait_starts(self, count):
        """Until it has said of so many jobs that they start."""

        def said():
            return len(STARTS.findall(self._out.read_bytes() + self._err.read_bytes())) >= count

        wait_until(said, lambda: f"{count} starts in {self.out!r}, {self.err!r}")

    def wait_ready(self):
        """Until it heeds signals, which is just before it reads."""

        def heeds():
            caught = int(status_field(self.pid, "SigCgt") or "0", 16)
            return caught >> (signal.SIGTERM - 1) & 1

        wait_until(heeds, lambda: f"takes over the signals; {self.err!r}")

    def send(self, number):
        self.process.send_signal(number)

    def ended(self, *, end_input=True, bound_s=BOUND_S):
        """Wait for its end."""
        if end_input and self.process.stdin and not self.process.stdin.closed:
            self.end_input()
        try:
            status = self.process.wait(bound_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"doesn't end; its stderr is {self.err!r}")
        for carrier in self._carriers:
            carrier.wait(BOUND_S)
        return Result(status, self._out.read_bytes(), self._err.read_bytes())


class Box:
    """A folder to run in; every process that runs in it dies with it."""

    def __init__(self, path):
        self.path = path
        self.command = str(Path(sys.executable).with_name("simple_gpu_scheduler"))
        self._io = path.with_name("io")
        self._io.mkdir()
        self._runs = []
        self._gates = []
        self.env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CUDA_", "SGS_", "PYTHON", "COVERAGE"))
        }
        self.env["SGS_LEASE_DIR"] = str(self._io / "leases")
        if os.path.exists("/dev/nvidiactl"):  # then ids would be checked against real cards
            (self._io / "libnvidia-ml.so.1").write_text("no library")
            self.env["LD_LIBRARY_PATH"] = str(self._io)

    def start(
        self,
        *options,
        stdin=subprocess.PIPE,
        stdout=None,
        stderr=None,
        env=None,
        limits=None,
        ignore=(),
        command=None,
        before=None,
    ):
        """Start a scheduler; its output goes to files unless told otherwise."""

        def prepare():
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            for number in STATUS_SIGNALS:
                signal.signal(number, signal.SIG_IGN if number in ignore else signal.SIG_DFL)
            for limit, value in (limits or {}).items():
                resource.setrlimit(limit, (value, value))
            if before is not None:
                before()

        number = len(self._runs)
        out, err = self._io / f"out{number}", self._io / f"err{number}"
        carriers = []
        with open(out, "wb") as out_file, open(err, "wb") as err_file:
            if limits:  # which must not hit the files of the test
                carriers = [_carry(out_file), _carry(err_file)]
                out_file, err_file = carriers[0].stdin, carriers[1].stdin
            process = subprocess.Popen(
                [*(command or [self.command]), *map(str, options)],
                stdin=stdin,
                stdout=out_file if stdout is None else stdout,
                stderr=err_file if stderr is None else stderr,
                cwd=self.path,
                env={**self.env, **(env or {})},
                start_new_session=True,
                preexec_fn=prepare,
            )
        for carrier in carriers:
            carrier.stdin.close()
        run = Run(process, out, err, carriers)
        self._runs.append(run)
        return run

    def run(self, commands, *options, **settings):
        """Run these commands (a text, bytes or a list of lines) to the end."""
        if not isinstance(commands, (str, bytes)):
            commands = "".join(f"{line}\n" for line in commands)
        data = commands if isinstance(commands, bytes) else commands.encode()
        source = self._io / f"in{len(self._runs)}"
        source.write_bytes(data)
        with open(source, "rb") as file:
            return self.start(*options, stdin=file, **settings).ended()

    def shell(self, script, **settings):
        """Run a shell script in which $S is the scheduler's command."""
        env = {**settings.pop("env", {}), "S": self.command}
        return self.start("-c", script, command=["/bin/bash"], env=env, **settings)

    def gate(self, name="gate"):
        gate = Gate(self.path / name)
        self._gates.append(gate)
        return gate

    def read(self, name):
        """The lines of a file; none if there is none yet."""
        try:
            return (self.path / name).read_text(errors="surrogateescape").splitlines()
        except FileNotFoundError:
            return []

    def wait_lines(self, name, count):
        """Until the file has so many lines; they."""
        wait_until(
            lambda: len(self.read(name)) >= count,
            lambda: f"{count} lines in {name}: {self.read(name)}; {[r.err for r in self._runs]}",
        )
        return self.read(name)

    def wait_pids(self, name, count=1):
        """Until jobs have written so many process ids into the file."""
        return [int(line) for line in self.wait_lines(name, count)]

    def processes(self):
        """Every process in this folder, whoever started it."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            with contextlib.suppress(OSError):
                place = os.readlink(f"/proc/{entry}/cwd")
                inside = place == str(self.path) or place.startswith(f"{self.path}/")
                if inside and is_alive(entry):
                    found.append(int(entry))
        return found

    def kill_all(self):
        """Kill every process in this folder, and wait until they are gone."""

        def none_left():
            left = self.processes()
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not left

        wait_until(none_left, lambda: f"end of {self.processes()}")

    def close(self):
        self.kill_all()
        for run in self._runs:
            if run.process.poll() is None:
                run.process.kill()
            run.process.wait()
            for carrier in run._carriers:
                carrier.kill()
                carrier.wait()
            for pipe in (run.process.stdin, run.process.stdout, run.process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        for gate in self._gates:
            gate.close()
