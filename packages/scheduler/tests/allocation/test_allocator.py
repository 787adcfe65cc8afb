"""Several schedulers on one machine, over random worlds: real plans and holders, no processes."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.allocation.allocator import Allocator
from simple_gpu_scheduler.allocation.availability import Availability
from simple_gpu_scheduler.allocation.monitor import GpuMonitor
from simple_gpu_scheduler.gpus.records import Gpu
from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job
from simple_gpu_scheduler.jobs.job import share_units as share
from simple_gpu_scheduler.leases.records import LeaseRequest
from simple_gpu_scheduler.leases.store import FileLeaseStore, live_leases
from simple_gpu_scheduler.policy.model import Card, Hold, PipePolicy, Running, Snapshot, Start
from simple_gpu_scheduler.policy.plan import plan
from simple_gpu_scheduler.testing.gpus import FakeDevices
from simple_gpu_scheduler.testing.leases import MemoryLeaseStore, MemoryMachine

SIZES_MIB = {"0": 100, "1": 60, "2": 100}
CARDS = tuple(SIZES_MIB)


class Shape(NamedTuple):
    """What a job asks for."""

    gpus: int
    slots: int = 1
    memory_mib: int | None = None


class Program:
    """A scheduler as the pipe's loop is one."""

    def __init__(
        self,
        world: World,
        pid: int,
        cards: tuple[str, ...],
        inside: str | None,
        watch: GpuMonitor | None,
    ) -> None:
        self.pid = pid
        self.world = world
        self.book = MemoryLeaseStore(world.machine, pid=pid)
        view = Availability(
            self.book,
            [Card(name, memory_mib=SIZES_MIB[name]) for name in cards],
            {name: name for name in cards},
            inside=inside,
            monitor=watch,
        )
        self.holder = Allocator(view, now_s=lambda: world.now_s)
        self.waiting: deque[Job] = deque()
        self.running: dict[int, Running] = {}
        self.served = 0
        self._seq = 0

    def submit(self, shape: Shape) -> None:
        self._seq += 1
        job = Job(self._seq, b"", shape.gpus, share(shape.slots), memory_mib=shape.memory_mib)
        self.waiting.append(job)

    def step(self) -> None:
        """Start what can be started, as `Pipe.run` does: it looks only if it is woken."""
        if self.holder.refresh_in_s is not None:
            self.holder.refresh()
        while True:
            snapshot = Snapshot(
                self.world.now_s, self.holder.cards, self.running.values(), self.waiting
            )
            decided = plan(snapshot, PipePolicy(order="backfill-best-fit"))
            for start in decided.starts:
                if self.holder.take(start) is None:
                    break
                self.waiting.remove(start.job)
                self.running[start.job.seq] = Running(start.job, start.gpus, 1, 0, 0)
                self.world.check()
            else:
                if self.holder.settle(decided.hold) is None:
                    return

    def end(self, seq: int) -> None:
        """One of its jobs ends."""
        job = self.running.pop(seq).job
        self.served += 1
        self.holder.finish(job, reuse=seq % 3 != 0)
        self.step()


class World:
    """Programs of one machine."""

    def __init__(self) -> None:
        self.machine = MemoryMachine()
        self.programs: list[Program] = []
        self.orphans: list[str] = []  # leases whose scheduler was killed, but not their jobs
        self.now_s = 0.0

    def open(
        self,
        cards: tuple[str, ...] = CARDS,
        inside: str | None = None,
        watch: GpuMonitor | None = None,
    ) -> Program:
        program = Program(self, len(self.programs) + 1, cards, inside, watch)
        self.programs.append(program)
        return program

    def kill(self, program: Program) -> None:
        """kill -9: its jobs run on, and what it waited for is forgotten."""
        self.programs.remove(program)
        for name, lease in list(self.machine.leases.items()):
            if lease.pid == program.pid:
                used = [own.held.path for own in program.holder._held.values()]
                if name in used:
                    self.orphans.append(name)
                else:
                    del self.machine.leases[name]
        for name, ticket in list(self.machine.tickets.items()):
            if ticket.pid == program.pid:
                del self.machine.tickets[name]

    def check(self) -> None:
        """No card beyond its capacity, counted without any of the code under test."""
        for card in CARDS:
            on_it = [one for one in self.machine.leases.values() if card in one.gpus]
            assert sum(one.units for one in on_it) <= GPU_UNITS
            assert sum(one.memory_mib or 0 for one in on_it) <= SIZES_MIB[card]


shapes = st.sampled_from(
    [Shape(gpus) for gpus in (1, 2, 3)]
    + [Shape(gpus, slots) for gpus in (1, 2) for slots in (2, 3, 4)]
    + [Shape(gpus, 64, memory_mib) for gpus in (1, 2) for memory_mib in (10, 30, 50, 90)]
)
steps = st.tuples(
    st.sampled_from(["submit", "submit", "step", "step", "end", "end", "kill", "orphan", "later"]),
    st.integers(0, 1000),
    shapes,
)


def act(world: World, what: str, number: int, shape: Shape) -> None:
    """One thing that happens on the machine."""
    program = world.programs[number % len(world.programs)]
    if what == "submit":
        program.submit(shape)
    elif what == "step":
        program.step()
    elif what == "end" and program.running:
        program.end(sorted(program.running)[number % len(program.running)])
    elif what == "kill":
        world.kill(program)
        world.open()
    elif what == "orphan" and world.orphans:
        world.machine.leases.pop(world.orphans.pop(number % len(world.orphans)), None)
    elif what == "later":
        world.now_s += 0.7
    world.check()


@given(st.lists(steps, max_size=60))
def test_no_card_is_ever_beyond_its_capacity_and_all_are_served(
    happens: list[tuple[str, int, Shape]],
) -> None:
    world = World()
    for _ in range(3):
        world.open()
    for what, number, shape in happens:
        act(world, what, number, shape)
    for name in world.orphans:
        world.machine.leases.pop(name, None)
    left = sum(len(one.waiting) + len(one.running) for one in world.programs)
    for _ in range(3 * left + 3):
        for program in world.programs:
            program.step()
        program = max(world.programs, key=lambda one: len(one.running))
        if program.running:
            program.end(min(program.running))
    assert not any(one.waiting or one.running for one in world.programs)
    assert not world.machine.leases
    assert not world.machine.tickets


@given(shapes, st.lists(shapes, min_size=1, max_size=3))
def test_nobody_waits_for_ever_behind_schedulers_with_work_without_end(
    asked: Shape, others: list[Shape]
) -> None:
    """The others' queues are never empty; of what runs, the oldest job ends first."""
    world = World()
    busy = [world.open() for _ in others]
    for _ in range(8):
        for program, shape in zip(busy, others, strict=True):
            program.submit(shape)
            program.step()
    waiter = world.open()
    waiter.submit(asked)
    waiter.step()
    # Those who came before it are served before it, and their jobs are to end, too.
    limit = (2 + len(busy)) * sum(len(one.running) for one in busy) + 10 * (1 + len(busy))
    while waiter.waiting and limit:
        limit -= 1
        for program, shape in zip(busy, others, strict=True):
            program.submit(shape)
        running = [(one, seq) for one in busy for seq in one.running]
        program, seq = min(running, key=lambda one: world_age(world, *one))
        program.end(seq)
        for one in world.programs:
            one.step()
    assert not waiter.waiting


def world_age(world: World, program: Program, seq: int) -> float:
    """When the job's lease was taken."""
    held = program.holder._held[seq].held
    return world.machine.leases[held.path].since_s


def nested_world(watch: GpuMonitor | None = None) -> tuple[World, Program, str]:
    """A scheduler with a job on card 0, and the token of that job's lease."""
    world = World()
    outer = world.open(("0",), watch=watch)
    outer.submit(Shape(1))
    outer.step()
    (lease,) = world.machine.leases.values()
    return world, outer, lease.token


def test_within_a_lease_its_card_is_shared_out_once() -> None:
    world, _, inside = nested_world()
    first, second = world.open(("0",), inside), world.open(("0",), inside)
    for program in (first, second):
        program.submit(Shape(1))
    world.check = lambda: None  # type: ignore[method-assign]  # two leases on the card are right
    first.step()
    second.step()
    assert (len(first.running), len(second.running)) == (1, 0)
    first.end(1)
    second.step()
    assert len(second.running) == 1


def test_what_a_job_leaves_behind_within_its_lease_is_waited_for() -> None:
    """A scheduler inside the first job outlives it: the second job doesn't get the same card."""
    world, outer, inside = nested_world()
    inner = world.open(("0",), inside)
    inner.submit(Shape(1))
    inner.submit(Shape(1))
    check, world.check = world.check, lambda: None  # type: ignore[method-assign]
    inner.step()
    assert len(inner.running) == 1
    outer.submit(Shape(1))
    outer.end(1)
    world.check = check  # type: ignore[method-assign]
    assert not outer.running
    world.check()
    inner.end(1)
    outer.step()
    inner.step()
    assert len(outer.running) + len(inner.running) == 1
    world.check()


def test_a_stray_child_that_takes_a_lease_later_is_no_part_of_the_next_job() -> None:
    world, outer, inside = nested_world()
    outer.submit(Shape(1))
    outer.end(1)  # the second job has the same lease file now
    assert len(outer.running) == 1
    (lease,) = world.machine.leases.values()
    assert (lease.turn, lease.token == inside) == (1, False)
    stray = world.open(("0",), inside)
    stray.submit(Shape(1))
    stray.step()
    assert not stray.running
    world.check()


def test_another_user_is_not_within_somebody_s_lease() -> None:
    world, _, inside = nested_world()
    thief = world.open(("0",), inside)
    thief.book.uid = 1001
    thief.holder.refresh()
    thief.submit(Shape(1))
    thief.step()
    assert not thief.running


def test_a_lease_is_passed_on_for_a_second_only() -> None:
    """Then the driver is asked again, and what is left of earlier jobs is seen."""
    driver = FakeDevices([Gpu(0, "0")])
    world, outer, _ = nested_world(GpuMonitor(driver, {"0": "0"}, avoid_foreign=False))
    for _ in range(5):
        outer.submit(Shape(1))
    (first,) = world.machine.leases
    outer.end(1)
    outer.end(2)
    assert [*world.machine.leases] == [first]
    world.now_s += 1.5
    outer.end(4 - 1)  # its process group still lives: not reused anyway
    (second,) = world.machine.leases
    assert second != first
    outer.end(4)
    assert [*world.machine.leases] == [second]
    world.now_s += 1.5
    outer.end(5)
    (third,) = world.machine.leases
    assert third != second


def test_without_a_driver_a_lease_is_passed_on_for_as_long_as_nobody_waits() -> None:
    world, outer, _ = nested_world()
    for _ in range(2):
        outer.submit(Shape(1))
    before = list(world.machine.leases)
    for seq in (1, 2):
        world.now_s += 3600
        outer.end(seq)
        assert list(world.machine.leases) == before
    other = world.open(("0",))
    for program in (outer, other):
        program.submit(Shape(1))
    other.step()
    outer.end(3)
    other.step()
    assert (len(other.running), len(outer.running)) == (1, 0)
    world.check()


def test_memory_is_kept_where_it_will_be_enough_soonest() -> None:
    """90 are asked for: the card with 30 in three jobs is kept, not that with 60 in one."""
    world = World()
    first, second = world.open(("0",)), world.open(("2",))
    first.submit(Shape(1, 64, 60))
    for _ in range(3):
        second.submit(Shape(1, 64, 10))
    waiter, newcomer = world.open(), world.open()
    waiter.submit(Shape(1, 64, 90))
    for program in (first, second, waiter):
        program.step()
    newcomer.holder.refresh()
    for _ in range(3):
        newcomer.submit(Shape(1, 64, 30))
    newcomer.step()
    assert sorted(one.gpus for one in newcomer.running.values()) == [("0",), ("1",), ("1",)]


def test_within_a_share_a_whole_gpu_is_that_share() -> None:
    world = World()
    other, outer = world.open(("0",)), world.open(("0",))
    for program in (other, outer):
        program.submit(Shape(1, 2))
        program.step()
    inside = outer.holder._held[1].held.lease.id
    first, second = world.open(("0",), inside), world.open(("0",), inside)
    world.check = lambda: None  # type: ignore[method-assign]  # a lease within a lease
    for program in (first, second):
        program.submit(Shape(1))
        program.step()
    assert (len(first.running), len(second.running)) == (1, 0)
    inner = first.holder._held[1].held.path
    assert world.machine.leases[inner].units == share(2)


def test_within_a_lease_of_some_memory_there_is_no_more_than_that() -> None:
    world = World()
    outer = world.open(("0",))
    outer.submit(Shape(1, 64, 30))
    outer.step()
    inner = world.open(("0",), outer.holder._held[1].held.lease.id)
    assert [card.memory_mib for card in inner.holder.cards] == [30]
    inner.submit(Shape(1, 64, 20))
    inner.submit(Shape(1, 64, 20))
    world.check = lambda: None  # type: ignore[method-assign]
    inner.step()
    assert len(inner.running) == 1


def test_who_waits_for_several_within_a_lease_is_served() -> None:
    world = World()
    outer = world.open(("0", "2"))
    outer.submit(Shape(2))
    outer.step()
    inside = outer.holder._held[1].held.lease.id
    world.check = lambda: None  # type: ignore[method-assign]
    busy, waiter = world.open(("0", "2"), inside), world.open(("0", "2"), inside)
    for _ in range(4):
        busy.submit(Shape(1))
    busy.step()
    waiter.submit(Shape(2))
    waiter.step()
    busy.end(1)
    busy.submit(Shape(1))
    busy.end(2)
    waiter.step()
    assert len(waiter.running) == 1


def test_a_small_job_that_passes_leaves_the_large_one_its_place() -> None:
    world = World()
    other, ours = world.open(("0",)), world.open(("0", "1"))
    other.submit(Shape(1))
    other.step()
    ours.submit(Shape(1, 64, 90))
    ours.step()
    (ticket,) = world.machine.tickets.values()
    ours.submit(Shape(1, 64, 10))
    ours.holder.refresh()
    ours.step()
    assert [one.gpus for one in ours.running.values()] == [("1",)]
    assert [one.since_ns for one in world.machine.tickets.values()] == [ticket.since_ns]


class ToldBook(MemoryLeaseStore):
    """A book that has a descriptor on which news come."""

    fds: tuple[int, int] = (-1, -1)

    def watch(self) -> int:
        """The reading end of a pipe."""
        self.fds = os.pipe()
        os.set_blocking(self.fds[0], False)
        return self.fds[0]


def test_after_news_one_looks_again_as_a_lease_ends_a_little_later() -> None:
    machine = MemoryMachine()
    other = MemoryLeaseStore(machine)
    other.add_lease(LeaseRequest(("0",), 1), "job")
    book = ToldBook(machine)
    holder = Allocator(Availability(book, [Card("0")], {"0": "0"}))
    holder.settle(Hold(Job(1, b""), 0))
    assert holder.refresh_in_s is None, "it sleeps in the kernel"
    os.write(book.fds[1], b"x")
    looks = []
    for _ in range(3):
        holder.refresh()
        looks.append(holder.refresh_in_s)
    assert looks == [0.05, 1.0, None]
    holder.close()
    os.close(book.fds[1])


def test_an_abandoned_lease_lives_as_long_as_who_has_inherited_it(tmp_path: Path) -> None:
    book = FileLeaseStore(str(tmp_path / "leases"))
    holder = Allocator(Availability(book, [Card("0")], {"0": "0"}))
    job = Job(1, b"")
    lease = holder.take(Start(job, ("0",)))
    assert lease is not None
    inherited = os.dup(lease.fd)
    holder.abandon(job)
    assert [one.token for one in live_leases(book.path)] == [lease.id]
    assert holder.take(Start(Job(2, b""), ("0",))) is None
    os.close(inherited)
    assert live_leases(book.path) == []
    assert holder.take(Start(Job(2, b""), ("0",))) is not None
    holder.close()
