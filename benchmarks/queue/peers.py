"""The queues that are compared: how each is started, filled and asked."""

from __future__ import annotations

import json
import shutil
import socket
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.harness.against import Earlier
from benchmarks.harness.build import HERE, compile_library
from benchmarks.harness.peers import INSTALL, SLOTS, first_line, package_version, pip_version

from .ours import OurQueue
from .room import Queue, Room, wait_until

QUEUES_BIN = HERE / ".peers" / "queues" / "bin"
FAKE_GPUS = HERE / "queue" / "fake_gpus"
FAKE_NVML = HERE.parent / "packages" / "scheduler" / "fake_nvml" / "fake_nvml.c"
POLL_S = "0.01"
"""Of the peers that poll: far below what they use by default, which is seconds."""


@dataclass(frozen=True)
class QueuePeer:
    """One queue. `jobs` make a run of a few seconds; `bulk` and `long` are what it can hold."""

    key: str
    title: str
    program: str
    queue: Callable[[Room], Queue]
    durable: str
    output: str
    jobs: int
    bulk: int
    long: int
    in_python: bool = False
    in_order: bool = True  # jobs start in the order in which they were submitted
    version: str = ""
    install: str = INSTALL

    @property
    def installed(self) -> bool:
        return shutil.which(self.program) is not None


# task-spooler ----------------------------------------------------------------------------------

TSP_FILL = 'while IFS= read -r line; do tsp -n sh -c "$line" >/dev/null || exit 1; done'


class TaskSpooler(Queue):
    """A client process for each queued job. Without output files (-n), which is quicker."""

    def __init__(self, room: Room) -> None:
        self.room = room
        room.environment |= {
            "TS_SOCKET": str(room.memory / "socket"),
            "TS_SLOTS": str(SLOTS),
            "TS_MAXFINISHED": "100000",
        }

    def open(self) -> None:
        self.room.call(["tsp"])

    def one(self, line: str) -> list[str]:
        return ["tsp", "-n", "sh", "-c", line]

    def fill(self, lines: Sequence[str]) -> None:
        self.room.call(["sh", "-c", TSP_FILL], lines)

    def ended(self) -> int:
        return sum(
            line.split()[1:2] == ["finished"] for line in self.room.call(["tsp"]).splitlines()
        )


# nq --------------------------------------------------------------------------------------------

NQ_FILL = """
i=0
while IFS= read -r line; do
    NQDIR=slot$i nq -c -q sh -c "$line" || exit 1
    i=$(((i + 1) % SLOTS))
done
"""


class Nq(Queue):
    """A directory is a queue that runs one job at a time: four of them, filled in turn.

    Files of jobs that succeeded are removed (-c): they would cost time at each start.
    """

    def __init__(self, room: Room) -> None:
        self.room = room
        self.filled = 0
        room.environment["SLOTS"] = str(SLOTS)

    def open(self) -> None:
        for slot in range(SLOTS):
            (self.room.disk / f"slot{slot}").mkdir()

    def one(self, line: str) -> list[str]:
        return ["env", "NQDIR=slot0", "nq", "-c", "-q", "sh", "-c", line]

    def fill(self, lines: Sequence[str]) -> None:
        self.room.call(["sh", "-c", NQ_FILL], lines)
        self.filled += len(lines)

    def ended(self) -> int:
        return self.filled - len(list(self.room.disk.glob("slot*/,*")))


# gq-local --------------------------------------------------------------------------------------

#: Its own client, in a process that stays: for setting up, which is not what is measured.
GQ_FILL = """
import os, sys
from gq.paths import Paths
from gq.protocol import PROTOCOL_VERSION, request
paths = Paths.from_environment()
for line in sys.stdin:
    answer = request(paths.socket, {"type": "submit", "protocol": PROTOCOL_VERSION,
        "argv": ["sh", "-c", line.rstrip("\\n")], "cwd": os.getcwd(), "env": dict(os.environ),
        "requested_gpus": 1, "name": None, "group": None, "key": None}, timeout=60)
    assert answer["ok"], answer
"""


class GqLocal(Queue):
    """A daemon with SQLite; the cards are those of our fake driver."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.program = str(QUEUES_BIN / "gq")
        cards = [f"card GPU-{slot}\nmemory 24576\n" for slot in range(SLOTS)]
        state = room.disk / "gpus.state"
        state.write_text("".join(cards))
        room.environment |= {
            "GQ_DATA_DIR": str(room.disk / "gq"),
            "GQ_RUNTIME_DIR": str(room.disk / "run"),
            "GQ_ALLOW_ROOT": "1",
            "LD_LIBRARY_PATH": str(compile_library(FAKE_NVML, "libnvidia-ml.so.1").parent),
            "FAKE_NVML_STATE": str(state),
        }

    def open(self) -> None:
        self.room.call([self.program, "daemon", "start"])

    def one(self, line: str) -> list[str]:
        return [self.program, "-g", "1", "sh", "-c", line]

    def fill(self, lines: Sequence[str]) -> None:
        self.room.call([str(QUEUES_BIN / "python"), "-c", GQ_FILL], lines)

    def submit_many(self, lines: Sequence[str]) -> None:
        """Its users have a client for each job."""
        loop = f'while IFS= read -r line; do {self.program} -g 1 sh -c "$line" || exit 1; done'
        self.room.call(["sh", "-c", loop], lines)

    def ended(self) -> int:
        jobs = json.loads(self.room.call([self.program, "ps", "--json", "--limit", "1000000"]))
        return sum(job["state"] == "DONE" for job in jobs)


# gpusched --------------------------------------------------------------------------------------


class Gpusched(Queue):
    """A file of lines that it reads at every poll; `--sim` spares it nvidia-smi."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.program = str(QUEUES_BIN / "gpusched")
        self.lines = room.disk / "jobs.txt"
        self.journal = room.disk / "logs" / "journal.jsonl"
        room.environment["GPUSCHED_SIM_DIR"] = str(room.memory / "sim")

    def open(self) -> None:
        self.lines.touch()
        options = ["--sim", str(SLOTS), "--poll", POLL_S, "--watch", "--log-dir", "logs"]
        self.room.daemon([self.program, str(self.lines), *options])

    def one(self, line: str) -> list[str]:
        append = 'printf "%s\\n" "$1" >> "$2"'
        return ["sh", "-c", append, "sh", line, str(self.lines)]

    def fill(self, lines: Sequence[str]) -> None:
        """It has accepted a line when its journal has it."""
        before = self.count("seen")
        with self.lines.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)
        wait_until(
            lambda: self.count("seen") >= before + len(lines), "gpusched has read all lines"
        )

    def count(self, event: str) -> int:
        if not self.journal.exists():
            return 0
        return self.journal.read_bytes().count(b'"event": "%s"' % event.encode())

    def ended(self) -> int:
        return self.count("done")


# gpuqu -----------------------------------------------------------------------------------------

#: Its REST API. A connection for each: with one for all, it takes 40 ms until an answer's second
#: packet comes (Nagle's algorithm).
GPUQU_FILL = """
import http.client, json, os, sys
for line in sys.stdin:
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["GPUQ_PORT"]))
    body = json.dumps({"command": ["sh", "-c", line.rstrip("\\n")], "cwd": os.getcwd()})
    connection.request("POST", "/api/tasks", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status < 300, text
"""


class Gpuqu(Queue):
    """A server with SQLite and a REST API; the cards are those of a pretend nvidia-smi."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.program = str(QUEUES_BIN / "gpuq")
        room.environment |= {
            "GPUQ_PORT": str(free_port()),
            "GPUQ_DATA": str(room.disk / "gpuq"),
            "GPUQ_POLL_INTERVAL": POLL_S,
            "GPUQ_METRICS_INTERVAL": "3600.0",
            "GPUQ_GPU_BIN": str(FAKE_GPUS / "nvidia-smi"),
        }

    def open(self) -> None:
        self.room.daemon([self.program, "serve"])
        wait_until(self.answers, "gpuqu answers")

    def answers(self) -> bool:
        try:
            self.get("/api/system")
        except OSError:
            return False
        return True

    def get(self, path: str) -> object:
        url = f"http://127.0.0.1:{self.room.environment['GPUQ_PORT']}{path}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)

    def one(self, line: str) -> list[str]:
        return [self.program, "submit", "--", "sh", "-c", line]

    def fill(self, lines: Sequence[str]) -> None:
        self.room.call([str(QUEUES_BIN / "python"), "-c", GPUQU_FILL], lines)

    def ended(self) -> int:
        answer = self.get("/api/tasks?status=succeeded&limit=1000000")
        assert isinstance(answer, dict)
        return len(answer["data"])


# HyperQueue ------------------------------------------------------------------------------------

#: Server and worker in one process; prints its folder.
HQ_SERVER = """
import signal, sys
from hyperqueue import LocalCluster
from hyperqueue.cluster import WorkerConfig
cluster = LocalCluster(sys.argv[1], WorkerConfig(cores=int(sys.argv[2])))
open(sys.argv[3], "w").write(str(cluster.cluster.server_dir))
signal.pause()
"""

#: All lines are tasks of one job, without files for their output.
HQ_SUBMIT = """
import sys
from hyperqueue import Client, Job
job = Job()
for line in (sys.argv[2:] or map(str.rstrip, sys.stdin)):
    job.program(["sh", "-c", line], stdout=None, stderr=None)
print(Client(sys.argv[1]).submit(job).id)
"""

HQ_WAIT = """
import sys
from hyperqueue import Client
from hyperqueue.job import SubmittedJob
client = Client(sys.argv[1])
sys.exit(not client.wait_for_jobs([SubmittedJob(None, int(one)) for one in sys.argv[2:]], False))
"""


class HyperQueue(Queue):
    """LocalCluster of the Python package: cores stand for GPUs. No journal, no command line."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.python = str(QUEUES_BIN / "python")
        self.directory = ""
        self.filled: dict[str, int] = {}

    def open(self) -> None:
        told = self.room.disk / "server-dir"
        folder = str(self.room.disk / "hq")
        self.room.daemon([self.python, "-c", HQ_SERVER, folder, str(SLOTS), str(told)])
        wait_until(lambda: told.exists() and told.read_text(), "HyperQueue has started")
        self.directory = told.read_text()

    def one(self, line: str) -> list[str]:
        return [self.python, "-c", HQ_SUBMIT, self.directory, line]

    def fill(self, lines: Sequence[str]) -> None:
        job = self.room.call([self.python, "-c", HQ_SUBMIT, self.directory], lines).strip()
        self.filled[job] = len(lines)

    def ended(self) -> int:
        """Of what was filled in; it tells when a job has ended, so this waits."""
        self.room.call([self.python, "-c", HQ_WAIT, self.directory, *self.filled])
        return sum(self.filled.values())


# All of them -----------------------------------------------------------------------------------


def ours(folder: Path) -> QueuePeer:
    sgs = folder / "sgs"
    return QueuePeer(
        "ours",
        "**sgs**",
        str(sgs),
        lambda room: OurQueue(room, sgs),
        durable="yes (SQLite, FULL)",
        output="yes",
        jobs=3000,
        bulk=100_000,
        long=100_000,
        in_python=True,
        version=pip_version("simple-gpu-scheduler", folder / "python"),
        install="pip install ./packages/scheduler",
    )


def earlier_queue(earlier: Earlier) -> QueuePeer:
    """Our queue as it was at a commit."""
    title = f"sgs, commit {earlier.commit}"
    return replace(ours(earlier.folder), key=earlier.commit, title=title)


def queue_peers() -> list[QueuePeer]:
    python = QUEUES_BIN / "python"
    return [
        QueuePeer(
            "tsp",
            "task-spooler",
            "tsp",
            TaskSpooler,
            durable="no (memory)",
            output="no",
            jobs=800,
            bulk=900,
            long=900,
            version=first_line("tsp", "-V"),
        ),
        QueuePeer(
            "nq",
            f"nq, {SLOTS} directories",
            "nq",
            Nq,
            durable="no (processes; files, not synced)",
            output="no",
            jobs=400,
            bulk=900,
            long=900,
            version=package_version("nq"),
        ),
        QueuePeer(
            "gq",
            "gq-local",
            str(QUEUES_BIN / "gq"),
            GqLocal,
            durable="yes (SQLite, FULL)",
            output="yes",
            jobs=200,
            bulk=100,
            long=500,
            in_python=True,
            version=pip_version("gq-local", python),
        ),
        QueuePeer(
            "gpusched",
            f"gpusched --poll {POLL_S}",
            str(QUEUES_BIN / "gpusched"),
            Gpusched,
            durable="yes (synced, once it is read)",
            output="yes",
            jobs=300,
            bulk=1000,
            long=2000,
            version=pip_version("gpusched", python),
        ),
        QueuePeer(
            "gpuqu",
            f"gpuqu, poll {POLL_S} s",
            str(QUEUES_BIN / "gpuq"),
            Gpuqu,
            durable="not a power loss (SQLite, NORMAL)",
            output="yes",
            jobs=40,
            bulk=500,
            long=500,
            in_order=False,
            in_python=True,
            version=pip_version("gpuqu", python),
        ),
        QueuePeer(
            "hq",
            "HyperQueue, LocalCluster",
            str(python),
            HyperQueue,
            durable="no (memory)",
            output="no",
            jobs=2000,
            bulk=100_000,
            long=100_000,
            in_python=True,
            version=pip_version("hyperqueue", python),
        ),
    ]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
