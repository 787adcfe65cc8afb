"""What a lease costs a scheduler, in CPU time of a job: `python -m benchmarks.leases`.

A job takes its lease and gives it back, thousands of times, in a directory of its own: passed on
from job to job, or taken anew each time; with nobody else there, or beside seven leases of another
program. Needs no GPU. Prints a table; `--folder` chooses the file system.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile

from simple_gpu_scheduler.allocation.allocator import Allocator
from simple_gpu_scheduler.allocation.availability import Availability
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.leases.store import FileLeaseStore
from simple_gpu_scheduler.policy.model import Card, Start

_CARDS = [Card(str(number)) for number in range(8)]


def holder(path: str) -> Allocator:
    """One program's leases on eight cards."""
    keys = {card.name: card.name for card in _CARDS}
    return Allocator(Availability(FileLeaseStore(path), _CARDS, keys))


def cpu_us(ours: Allocator, jobs: int, *, reuse: bool) -> float:
    """CPU time of a job, in microseconds."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    for seq in range(jobs):
        job = Job(seq, b"true")
        ours.take(Start(job, ("0",)))
        ours.finish(job, reuse=reuse)
    ours.settle(None)
    after = resource.getrusage(resource.RUSAGE_SELF)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used_s / jobs * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leases", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000, help="in each run (default 2000)")
    parser.add_argument("--repeats", type=int, default=7, help="runs (default 7)")
    parser.add_argument("--folder", help="where the directory is made (default: /tmp)")
    args = parser.parse_args()
    print("| a lease is | beside other leases | CPU µs a job, median (min..max) |")
    print("| :--- | ---: | ---: |")
    for others in (0, 7):
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            path = os.path.join(folder, "leases")
            neighbour = holder(path)
            for number in range(1, others + 1):
                neighbour.take(Start(Job(number, b""), (str(number),)))
            for reuse, how in ((True, "passed on"), (False, "taken anew")):
                ours = holder(path)
                found = [cpu_us(ours, args.jobs, reuse=reuse) for _ in range(args.repeats)]
                middle, least, most = statistics.median(found), min(found), max(found)
                print(f"| {how} | {others} | {middle:.0f} ({least:.0f}..{most:.0f}) |")
            neighbour.close()


if __name__ == "__main__":
    main()
