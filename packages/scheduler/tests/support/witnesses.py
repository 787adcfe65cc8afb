"""What jobs themselves have seen, compared with what the queue tells; see witness.c."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

STATUSES = (0, 3, 0, 7, 128 + 15, 0, 1)
UNKNOWN = "lost"


def compiled(folder: Path) -> Path:
    """The program, made in that folder."""
    source, target = Path(__file__).with_name("witness.c"), folder / "witness"
    options = ["-Wall", "-Wextra", "-Werror", "-O1"]
    subprocess.run(["cc", *options, "-o", target, source], check=True)
    return target


class Attempt(NamedTuple):
    """What the queue tells of an attempt that is over."""

    job: int
    number: int
    status: int | None  #: as a shell has it; None: nobody knows


class Verdict(NamedTuple):
    """What was found; all but `jobs` and `unknown` must be empty."""

    jobs: int  #: that were accepted
    missing: list[int]  #: they were accepted, and aren't there
    open: list[int]  #: they haven't ended
    twice: list[str]  #: attempts that began more than once
    double: list[str]  #: attempts that met others on their GPUs
    wrong: list[str]  #: attempts with another end than the queue tells
    unknown: list[int]  #: jobs of which the queue says that nobody knows

    def complaints(self) -> dict[str, list[int] | list[str]]:
        """Those that must be empty and aren't."""
        named = self._asdict()
        names = ("missing", "open", "twice", "double", "wrong")
        return {name: named[name] for name in names if named[name]}


class Witnesses:
    """The folder in which jobs note what they see."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.folder = folder
        self._program = program
        (folder / "begun").mkdir(parents=True)
        self.killed: set[str] = set()  #: attempts that a test has killed, as JOB.ATTEMPT

    def command(self, milliseconds: int = 10, status: int = 0) -> bytes:
        """A job of that length and end; of a negative one, until `go`."""
        return os.fsencode(f"exec '{self._program}' '{self.folder}' {milliseconds} {status}")

    def commands(self, count: int, rng: random.Random, most_ms: int = 60) -> list[bytes]:
        """Jobs of all kinds of ends."""
        return [
            self.command(rng.randrange(most_ms), STATUSES[number % len(STATUSES)])
            for number in range(count)
        ]

    def go(self) -> None:
        """Let those end that wait for that."""
        (self.folder / "go").touch()

    def begun(self) -> set[str]:
        """Attempts that have begun."""
        return set(os.listdir(self.folder / "begun"))

    def log(self) -> list[list[str]]:
        """What they noted, as words."""
        path = self.folder / "log"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def verdict(self, database: Path, accepted: Iterable[int]) -> Verdict:
        """Compare."""
        accepted = list(accepted)
        states, attempts = _told(database)
        log = self.log()
        noted: dict[str, list[str]] = {}
        for what, attempt, *about in log:
            noted.setdefault(what, []).append(" ".join([attempt, *about]))
        ends = dict(one.split(" ", 1) for one in noted.get("ends", []))
        wrong = [
            f"{one.job}.{one.number}: told {one.status}, was {ends.get(f'{one.job}.{one.number}')}"
            for one in attempts
            if not self._is_true(one, ends)
        ]
        wrong += noted.get("unseen", [])
        return Verdict(
            len(accepted),
            [job for job in accepted if job not in states],
            [job for job, state in states.items() if state in ("queued", "held", "running")],
            noted.get("twice", []),
            noted.get("double", []),
            wrong + self._misplaced(states, attempts),
            [job for job, state in states.items() if state == UNKNOWN],
        )

    def _is_true(self, one: Attempt, ends: dict[str, str]) -> bool:
        name = f"{one.job}.{one.number}"
        if one.status is None:
            return True
        if name in self.killed and one.status == 128 + 9:
            return True
        return ends.get(name) == str(one.status)

    def _misplaced(self, states: dict[int, str], attempts: list[Attempt]) -> list[str]:
        """Jobs whose state isn't that of their last attempt, or that began and have none."""
        last = {one.job: one for one in attempts}
        known = {f"{one.job}.{one.number}" for one in attempts}
        found = [f"{one} began, and the queue has no attempt" for one in self.begun() - known]
        for job, state in states.items():
            status = last[job].status if job in last else None
            expected = "succeeded" if status == 0 else "failed"
            if status is not None and state not in (expected, "cancelled", "queued", "running"):
                found.append(f"{job} is {state}, and ended with {status}")
            if status is None and state in ("succeeded", "failed"):
                found.append(f"{job} is {state}, and nobody knows how it ended")
        return found


def _told(database: Path) -> tuple[dict[int, str], list[Attempt]]:
    with closing(sqlite3.connect(database)) as connection:
        states = dict(connection.execute("SELECT id, state FROM jobs"))
        rows = connection.execute(
            "SELECT job, number, exit_code, signal FROM attempts ORDER BY job, number"
        ).fetchall()
    return states, [Attempt(job, n, _status(code, signal)) for job, n, code, signal in rows]


def _status(code: int | None, number: int | None) -> int | None:
    return code if number is None else 128 + number
