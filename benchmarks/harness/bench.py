"""What all figures share: where to work, how to run a dispatcher, or several in turn."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol, TypeVar

from .against import Earlier
from .build import Tools
from .errors import BenchmarkError, RunFailed
from .guard import Guard
from .peers import DISK, FLOOR, FOLDER, OURS, SLOTS, Peer, clean_environment
from .process import Run, Usage
from .progress import Progress
from .report import Row

TIMEOUT_S = 60.0
CALIBRATION_JOBS = 150


class Subject(Protocol):
    """Anything that gets a row."""

    @property
    def key(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def installed(self) -> bool: ...
    @property
    def install(self) -> str: ...


S = TypeVar("S", bound=Subject)


@dataclass(frozen=True)
class Sizes:
    """How much is measured. Rates do not depend on it; how far they can be trusted does."""

    repeats: int = 5
    jobs_share: float = 1.0
    turnaround_jobs: int = 160
    backlog_lines: int = 1_000_000
    idle_s: float = 3.0
    startup_runs: int = 3
    grid_values: int = 100
    guard_s: float = 45.0
    big_grid: bool = True

    @property
    def few_repeats(self) -> int:
        """For the figures that take long and spread little."""
        return (self.repeats + 1) // 2


QUICK = Sizes(
    repeats=1,
    jobs_share=0.2,
    turnaround_jobs=40,
    backlog_lines=100_000,
    idle_s=1.0,
    startup_runs=3,
    grid_values=50,
    guard_s=0,
    big_grid=False,
)


@dataclass(frozen=True)
class Stamps:
    """When the jobs of a run started and ended, in nanoseconds, each in order."""

    starts: list[int]
    ends: list[int]

    @classmethod
    def read(cls, path: Path) -> Stamps:
        stamps: dict[str, list[int]] = {"s": [], "e": []}
        with contextlib.suppress(FileNotFoundError):
            for line in path.read_text().splitlines():
                kind, time_ns, _pid = line.split()
                stamps[kind].append(int(time_ns))
        return cls(sorted(stamps["s"]), sorted(stamps["e"]))


@dataclass
class Bench:
    """The tools, the folders and the settings of one run of the benchmarks."""

    tools: Tools
    ours: Path
    peers: list[Peer]
    scratch: Path
    disk: Path
    sizes: Sizes
    full: bool
    progress: Progress
    earlier: list[Earlier] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.environment = clean_environment(self.scratch)
        self.guard = Guard(self.calibrate, self.sizes.guard_s)

    # Running one dispatcher ------------------------------------------------------------------

    def stamp_line(self, milliseconds: int | None = None) -> str:
        """A job that stamps the file `stamps` in the run's folder, in place of its shell."""
        pause = [] if milliseconds is None else [str(milliseconds)]
        return shlex.join(["exec", str(self.tools.stamp), "stamps", *pause])

    @contextlib.contextmanager
    def folders(self) -> Iterator[tuple[Path, Path]]:
        """A folder for one run in memory, and one on disk.

        That on disk stays until all is measured: for half a minute after files are deleted, ext4
        without a journal passes by their numbers, so that every new file costs more the more were
        deleted. The next queue would pay for the logs of the one before it.
        """
        with tempfile.TemporaryDirectory(dir=self.scratch) as memory:
            yield Path(memory), Path(tempfile.mkdtemp(dir=self.disk))

    @contextlib.contextmanager
    def running(self, peer: Peer, stdin: int | IO[bytes]) -> Iterator[Run]:
        """A dispatcher at work. On leaving, it and its jobs are gone."""
        with self.folders() as (folder, disk):
            fill = filler(folder, disk)
            command = [fill(word) for word in peer.command]
            environment = {name: fill(text) for name, text in peer.environment.items()}
            with Run(
                self.tools.meter, command, folder, self.environment | environment, stdin
            ) as run:
                yield run

    def finish(
        self, peer: Peer, lines: Iterable[str], timeout_s: float = TIMEOUT_S
    ) -> tuple[Usage, Stamps]:
        """Runs all the lines to the end."""
        with self.queue(lines) as stdin, self.running(peer, stdin) as run:
            return run.wait(timeout_s), Stamps.read(run.folder / "stamps")

    @contextlib.contextmanager
    def queue(self, lines: Iterable[str]) -> Iterator[IO[bytes]]:
        """A file of lines, opened at its start."""
        with tempfile.TemporaryFile(dir=self.scratch) as file:
            file.writelines(f"{line}\n".encode() for line in lines)
            file.seek(0)
            yield file

    def calibrate(self) -> float:
        """The floor's rate, of a short run."""
        floor = Peer(FLOOR, "", (str(self.tools.floor), str(SLOTS)), str(self.tools.floor), 0)
        usage, _ = self.finish(floor, ["true"] * CALIBRATION_JOBS)
        return CALIBRATION_JOBS / usage.wall_ms * 1000

    # Running several in turn -----------------------------------------------------------------

    def interleave(
        self,
        section: str,
        subjects: Sequence[S],
        measure: Callable[[S], Mapping[str, float]],
        repeats: int,
    ) -> list[Row]:
        """Measures all once in each repetition (A B C A B C): a slow minute hits all of them."""
        rows = {subject.key: Row(subject.key, subject.title) for subject in subjects}
        active = [
            subject for subject in subjects if self.available(subject, rows[subject.key], section)
        ]
        for repeat in range(repeats):
            for subject in list(active):
                self.progress.show(f"{section}, {repeat + 1} of {repeats}: {subject.key}")
                try:
                    figures = self.guard.measure(lambda subject=subject: measure(subject))  # type: ignore[misc]
                except RunFailed as error:
                    active.remove(subject)
                    self.failed(rows[subject.key], section, str(error))
                    continue
                rows[subject.key].add(figures)
        return list(rows.values())

    def available(self, subject: Subject, row: Row, section: str) -> bool:
        if not subject.installed:
            row.note = f"not installed: {subject.install}"
            if is_ours(subject.key):
                self.failures.append(f"{section}: {subject.key} is {row.note}")
        return subject.installed

    def failed(self, row: Row, section: str, reason: str) -> None:
        row.cells.clear()
        row.note = f"failed: {reason}"
        if row.key == FLOOR:
            raise BenchmarkError(f"{section}: the floor {row.note}")
        if is_ours(row.key):
            self.failures.append(f"{section}: {row.key} {row.note}")


def is_ours(key: str) -> bool:
    return key == OURS or key.startswith(f"{OURS} ")


def filler(folder: Path, disk: Path) -> Callable[[str], str]:
    return lambda text: text.replace(FOLDER, str(folder)).replace(DISK, str(disk))


def feed(path: Path) -> subprocess.Popen[bytes]:
    """A process that writes a file into a pipe."""
    return subprocess.Popen(["cat", str(path)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
