"""Rounds of kill -9 at random: of the server, launchers, submitters, jobs, the whole machine.

    python packages/scheduler/tests/support/fault_rounds.py --rounds 300 --seed 1

Prints what was done, and what was found. The jobs are witnesses (witness.c). All that may be found
is jobs of which the queue says itself that nobody knows how they ended.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from queues import SGS, Queue
from simple_gpu_scheduler.processes import tree as process_tree
from simple_gpu_scheduler.queue import server_lock
from simple_gpu_scheduler.queue.mailbox import call
from simple_gpu_scheduler.queue.records import OPEN_STATES, JobRequest
from simple_gpu_scheduler.queue.server.processes import queue_mark
from simple_gpu_scheduler.system import proc
from witnesses import Verdict, Witnesses, compiled

#: Who is killed in a round, and how often of 100.
VICTIMS = {
    "server": 32, "launcher": 22, "server and launcher": 12, "client": 20, "job": 10, "machine": 4,
}  # fmt: skip
_BOUND_S = 600.0


class Rounds:
    """One queue under fire."""

    def __init__(self, path: Path, program: Path, seed: int) -> None:
        self.queue = Queue(path)
        self.witnesses = Witnesses(path / "seen", program)
        self.kills: Counter[str] = Counter()
        self.accepted: list[int] = []
        self.broken: list[str] = []  #: promises of submitters
        self._rng = random.Random(seed)
        self._boot = 0

    def run(self, rounds: int) -> Verdict:
        """Do so many rounds; then let all end, and see."""
        for number in range(rounds):
            self._round(number)
        self.queue.start()
        self.witnesses.go()
        until_s = time.monotonic() + _BOUND_S
        while any(state in OPEN_STATES for state in self.queue.store.counts()):
            assert time.monotonic() < until_s, "it never ends"
            self._see_to_a_server()
            time.sleep(0.05)
        return self.witnesses.verdict(self.queue.database, self.accepted)

    def _round(self, number: int) -> None:
        names = list(VICTIMS)
        (victim,) = self._rng.choices(names, [VICTIMS[name] for name in names])
        self._submit(f"round {number}", killed=victim == "client")
        if victim != "client":
            time.sleep(self._rng.uniform(0.0, 0.25))  # the pace of the killing
            self._kill(victim)
        if self._rng.random() < 0.7:
            self._see_to_a_server()  # else the next submitter does

    # who submits

    def _submit(self, group: str, *, killed: bool) -> None:
        count = self._rng.choice([1, 1, 3, 8, 1000 if killed else 20])
        most_ms = 400 if count < 20 else 3
        commands = self.witnesses.commands(count, self._rng, most_ms)
        if not killed and self._rng.random() < 0.3:  # (there is no option for that)
            asked = [JobRequest(one, requeue=True, group=group) for one in commands]
            self.accepted += self.queue.submit(*asked)
            return
        lines = b"".join(one + b"\n" for one in commands)
        options = [*self._rng.choice([[], ["--retries", "2"]]), "--group", group]
        client = subprocess.Popen(
            [SGS, "submit", *options], env=self.queue.env, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert client.stdin is not None
        assert client.stdout is not None
        with suppress(BrokenPipeError):
            client.stdin.write(lines)
            client.stdin.close()
        if killed:
            time.sleep(self._rng.uniform(0.0, 0.8))
            client.kill()
            self.kills["client"] += 1
        printed = [int(one) for one in client.stdout.read().split(b"\n")[:-1]]
        client.stdout.close()
        client.wait()
        self._hold_to_its_word(group, count, printed, killed=killed)

    def _hold_to_its_word(
        self, group: str, count: int, printed: list[int], *, killed: bool
    ) -> None:
        """All or none; and what was printed is there."""
        there = [one.id for one in self.queue.store.entries(group=group)]
        if len(there) not in ((0, count) if killed else (count,)):
            self.broken.append(f"{group}: {len(there)} of {count} were accepted")
        if not set(printed) <= set(there):
            self.broken.append(f"{group}: {sorted(set(printed) - set(there))} aren't there")
        self.accepted += there

    # who dies

    def _kill(self, victim: str) -> None:
        if victim == "machine":
            self._restart_the_machine()
        elif victim == "job":
            self._kill_a_job()
        else:
            for name in victim.split(" and "):
                self._kill_one(name)

    def _kill_one(self, name: str) -> None:
        pids = self.queue.launchers() if name == "launcher" else self._servers()
        if pids:
            with suppress(ProcessLookupError):
                os.kill(self._rng.choice(pids), signal.SIGKILL)
                self.kills[name] += 1

    def _servers(self) -> list[int]:
        about = server_lock.server(str(self.queue.folder))
        return [int(about["pid"])] if about else []

    def _kill_a_job(self) -> None:
        """One that is sure to run for a while: most have ended before their process is known."""
        (job,) = self.queue.submit(JobRequest(self.witnesses.command(2000, 3), priority=10))
        self.accepted.append(job)
        self._see_to_a_server()
        pid = self._pid_of(job)
        if pid is not None:
            self.witnesses.killed.add(f"{job}.1")
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.kills["job"] += 1

    def _pid_of(self, job: int) -> int | None:
        """Its process, once that is known; None if it takes too long."""
        for _ in range(300):
            for one, _ in self.queue.store.running():
                if one.job == job and one.pid and proc.start_ticks(one.pid):
                    return one.pid
            time.sleep(0.01)  # others may have to end before it runs
        return None

    def _restart_the_machine(self) -> None:
        mark = queue_mark(str(self.queue.folder)).encode()
        while pids := [*self._servers(), *self.queue.launchers()]:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        while found := process_tree.marked(mark):
            for pid in [pid for pids in found.values() for pid in pids]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._boot += 1
        self.queue.env["SGS_BOOT_ID"] = f"boot {self._boot}"
        self.kills["machine"] += 1

    def _see_to_a_server(self) -> None:
        servers = self._servers()
        if not servers or proc.is_dying(servers[0]):
            self.queue.start()
        else:
            call(str(self.queue.folder))


def report(rounds: Rounds, verdict: Verdict, count: int) -> list[str]:
    """What was done and found, a line each."""
    lines = [f"rounds {count}"]
    lines += [f"kills of {name} {rounds.kills[name]}" for name in VICTIMS if " and " not in name]
    lines.append(f"attempts that began {len(rounds.witnesses.begun())}")
    lines.append(f"jobs accepted {verdict.jobs}")
    lines.append(f"jobs lost {len(verdict.missing) + len(verdict.open)}")
    lines.append(f"broken promises of submitters {len(rounds.broken)}")
    lines.append(f"attempts started twice {len(verdict.twice)}")
    lines.append(f"wrong exit statuses {len(verdict.wrong)}")
    lines.append(f"GPUs used twice at once {len(verdict.double)}")
    lines.append(f"jobs of which nobody knows how they ended {len(verdict.unknown)}")
    found = [*rounds.broken, *(str(one) for one in verdict.complaints().items())]
    return [*lines, *found]


def main() -> None:
    """Run the rounds; exit status 1 if something was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        path = Path(name)
        rounds = Rounds(path, compiled(path), args.seed)
        try:
            verdict = rounds.run(args.rounds)
        finally:
            rounds.queue.close()
        print(*report(rounds, verdict, args.rounds), sep="\n")
        sys.exit(bool(rounds.broken or verdict.complaints()))


if __name__ == "__main__":
    main()
