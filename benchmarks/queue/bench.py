"""What the figures of the queue share: how much is measured, and who takes part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness.bench import Bench
from benchmarks.harness.errors import RunFailed
from benchmarks.harness.peers import FLOOR, SLOTS, Peer
from benchmarks.harness.report import Row

from .ours import OurQueue
from .peers import QueuePeer
from .room import Queue, Room, room


@dataclass(frozen=True)
class QueueSizes:
    """How much is measured. Rates do not depend on it; how far they can be trusted does."""

    jobs_share: float = 1.0
    submits: int = 15
    most: int = 100_000  # of what a peer is filled with
    grown: tuple[int, ...] = (100, 1000, 10_000, 100_000, 1_000_000)
    turnaround_jobs: int = 160
    idle_s: float = 3.0


QUICK = QueueSizes(
    jobs_share=0.05,
    submits=3,
    most=500,
    grown=(100, 1000),
    turnaround_jobs=24,
    idle_s=0.5,
)


@dataclass
class QueueBench:
    """One run of the queue's benchmarks."""

    bench: Bench
    ours: QueuePeer
    queues: list[QueuePeer]  # ours first
    pipes: list[Peer]  # the floor and our pipe, which bear no queue
    sizes: QueueSizes
    rows: dict[str, list[Row]] = field(default_factory=dict)  # of figures that are taken together

    @property
    def sgs(self) -> Path:
        return Path(self.ours.program)

    @property
    def floor(self) -> Peer:
        return next(peer for peer in self.pipes if peer.key == FLOOR)

    def jobs(self, peer: QueuePeer | Peer) -> int:
        """How many no-op jobs it is given."""
        return max(20, int(peer.jobs * self.sizes.jobs_share))

    def bulk(self, peer: QueuePeer) -> int:
        return min(peer.bulk, self.sizes.most)

    def long(self, peer: QueuePeer) -> int:
        return min(peer.long, self.sizes.most)

    @contextmanager
    def opened(self, peer: QueuePeer) -> Iterator[tuple[Room, Queue]]:
        """A queue all of whose slots are held by jobs that wait at the room's gate."""
        with room(self.bench) as one:
            queue = peer.queue(one)
            queue.open()
            queue.fill([one.gate_line()] * SLOTS)
            one.wait_at_gate(SLOTS)
            yield one, queue

    @contextmanager
    def our_queue(self) -> Iterator[OurQueue]:
        """Our queue, not yet started."""
        with room(self.bench) as one:
            yield OurQueue(one, self.sgs)


def check_count(queue: Queue, expected: int) -> None:
    """That the queue itself says so many jobs have ended.

    Raises:
        RunFailed: it does not.
    """
    ended = queue.ended()
    if ended < expected:
        raise RunFailed(f"{ended} of {expected} jobs are recorded as ended")
