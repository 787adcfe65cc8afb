"""Who belongs to a job, in random histories of a small machine whose numbers are soon used again.

The histories know whose child everybody truly is; the decision sees only what /proc shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from profiles import examples
from simple_gpu_scheduler.processes.membership import FirstProcess, members

INIT, US = 1, 2
OURS, OTHER = 1000, 2000


@dataclass
class Process:
    parent: int
    session: int
    start_ticks: int
    owner: int
    marked: bool = False
    of_the_job: bool = False
    has_ended: bool = False


class Machine:
    """Processes live and die as Linux has them; each step takes a tick."""

    def __init__(self) -> None:
        self.now = 0
        self.all = {
            INIT: Process(0, INIT, 0, 0),
            US: Process(INIT, US, 0, OURS),
            3: Process(INIT, 3, 0, OURS),
            4: Process(INIT, 4, 0, OTHER),
        }
        pid = self.fork(US)
        self.setsid(pid)
        self.all[pid].marked = self.all[pid].of_the_job = True
        self.job = pid
        self.started = self.now
        self.held = 0

    def living(self) -> list[int]:
        return sorted(pid for pid, one in self.all.items() if not one.has_ended)

    def fork(self, parent: int) -> int:
        taken = self.all.keys() | {one.session for one in self.all.values()}
        pid = next(number for number in range(5, 1000) if number not in taken)
        one = self.all[parent]
        self.now += 1
        self.all[pid] = Process(
            parent, one.session, self.now, one.owner, one.marked, one.of_the_job
        )
        return pid

    def setsid(self, pid: int) -> None:
        self.all[pid].session = pid

    def forget_mark(self, pid: int) -> None:
        self.all[pid].marked = False

    def copy_mark(self, pid: int) -> None:
        self.all[pid].marked = True

    def become_other(self, pid: int) -> None:
        self.all[pid].owner = OTHER

    def exit(self, pid: int) -> None:
        if pid in (INIT, US):
            return
        for one in self.all.values():
            if one.parent == pid:
                one.parent = INIT
        if self.all[pid].parent == US:
            self.all[pid].has_ended = True
        else:
            del self.all[pid]

    def reap(self, _: int) -> None:
        for pid, one in tuple(self.all.items()):
            if one.has_ended:
                del self.all[pid]
                if one.of_the_job and pid == self.job:
                    self.held = self.now

    # what is seen, and what is true

    @property
    def first(self) -> FirstProcess:
        return FirstProcess(self.job, self.started, self.started, self.held)

    def claims(self, pid: int) -> bool:
        one = self.all[pid]
        return one.marked and one.owner == OURS and not one.has_ended

    def found(self, first: FirstProcess | None = None) -> set[int]:
        return members(self.all, first or self.first, self.claims, {INIT, US}.__contains__)

    def under(self, pids: set[int]) -> set[int]:
        """These and their descendants."""
        while more := {p for p, one in self.all.items() if one.parent in pids} - pids:
            pids = pids | more
        return pids


Step = Callable[[Machine, int], object]


def end_the_first(machine: Machine, pid: int) -> None:
    if machine.started == machine.all.get(machine.job, machine.all[INIT]).start_ticks:
        machine.exit(machine.job)
        machine.reap(pid)


def end_all_of_the_session(machine: Machine, pid: int) -> None:
    end_the_first(machine, pid)
    for one in machine.living():
        if machine.all[one].session == machine.job and machine.all[one].of_the_job:
            machine.exit(one)


def fork_a_daemon(machine: Machine, pid: int) -> None:
    """With a session of its own, whose first process ends."""
    first = machine.fork(pid)
    machine.setsid(first)
    machine.fork(first)
    machine.exit(first)
    machine.reap(first)


def fork_a_copy(machine: Machine, pid: int) -> None:
    machine.copy_mark(machine.fork(pid))


STEPS: tuple[Step, ...] = (
    Machine.fork,
    Machine.setsid,
    Machine.exit,
    Machine.reap,
    Machine.forget_mark,
    Machine.copy_mark,
    Machine.become_other,
    end_the_first,
    end_all_of_the_session,
    fork_a_daemon,
    fork_a_copy,
)


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    machine = Machine()
    step = st.tuples(st.sampled_from(STEPS), st.integers(0, 6))
    for act, which in draw(st.lists(step, min_size=3, max_size=25)):
        living = machine.living()
        act(machine, living[-1 - which % len(living)])
    return machine


@settings(max_examples=examples(3))
@given(machines())
def test_who_belongs_descends_from_the_job_or_is_our_own_orphan_with_its_mark(
    machine: Machine,
) -> None:
    """The last can't be told from a daemon that the job has started."""
    copies = {
        pid
        for pid, one in machine.all.items()
        if machine.claims(pid) and not one.of_the_job and one.parent in (INIT, US)
    }
    if any(machine.all[pid].session == machine.job for pid in copies):
        copies |= {pid for pid, one in machine.all.items() if one.session == machine.job}
    true = {pid for pid, one in machine.all.items() if one.of_the_job}
    assert machine.found() <= true | machine.under(copies)


@settings(max_examples=examples(3))
@given(machines())
def test_nobody_of_another_owner_belongs_but_by_descent(machine: Machine) -> None:
    marks = {pid for pid, one in machine.all.items() if one.marked and not one.of_the_job}
    for pid in marks:  # as if no process of ours had copied it
        machine.all[pid].owner = OTHER
    for pid in machine.found():
        assert machine.all[pid].of_the_job


@settings(max_examples=examples(3))
@given(machines())
def test_nobody_older_than_the_job_belongs(machine: Machine) -> None:
    assert all(machine.all[pid].start_ticks >= machine.started for pid in machine.found())


@settings(max_examples=examples(3))
@given(machines())
def test_children_of_who_belongs_do(machine: Machine) -> None:
    found = machine.found()
    assert machine.under(found) == found


@settings(max_examples=examples(3))
@given(machines())
def test_the_job_s_session_belongs_as_long_as_we_know_whose_it_is(machine: Machine) -> None:
    session = {
        pid
        for pid, one in machine.all.items()
        if one.of_the_job and one.session == machine.job and one.start_ticks >= machine.started
    }
    head = machine.all.get(machine.job)
    known = head is not None and head.start_ticks == machine.started
    old = {pid for pid in session if machine.all[pid].start_ticks <= machine.held}
    if known or (head is None and old):
        assert session <= machine.found()


@settings(max_examples=examples(3))
@given(machines())
def test_our_orphans_with_the_mark_belong(machine: Machine) -> None:
    for pid, one in machine.all.items():
        if one.of_the_job and machine.claims(pid) and one.parent == INIT:
            assert pid in machine.found()


@settings(max_examples=examples(3))
@given(machines(), st.integers(0, 50))
def test_more_knowledge_never_takes_anybody_away(machine: Machine, earlier: int) -> None:
    held = min(earlier, machine.held)
    assert machine.found(machine.first._replace(held_ticks=held)) <= machine.found()
    unmarked = members(machine.all, machine.first, lambda _: False, lambda _: False)
    assert unmarked <= machine.found()


@settings(max_examples=examples(3))
@given(machines())
def test_of_an_unknown_process_the_mark_tells_all(machine: Machine) -> None:
    unknown = FirstProcess(0, machine.started)
    found = machine.found(unknown)
    assert found <= machine.found() | machine.under(
        {pid for pid in machine.all if machine.claims(pid)}
    )
    for pid in found:
        assert machine.all[pid].start_ticks >= machine.started


def test_a_child_older_than_its_parent_is_another_s() -> None:
    """While we read, a parent has ended, and its number went to a process of the job."""
    machine = Machine()
    machine.all[9] = Process(machine.job, 9, machine.started, OURS)
    machine.all[machine.job].start_ticks += 1
    first = FirstProcess(machine.job, machine.started, machine.started + 1)
    assert machine.found(first) == {machine.job}


def test_another_process_of_the_number_has_its_own_session() -> None:
    machine = Machine()
    first = FirstProcess(machine.job, machine.started - 1)
    machine.forget_mark(machine.job)
    machine.fork(machine.job)
    assert machine.found(first._replace(start_ticks=0)) == set()


def test_a_number_that_was_used_again_after_all_of_the_job_has_died_is_nobody_s() -> None:
    machine = Machine()
    end_all_of_the_session(machine, US)
    fork_a_daemon(machine, 3)
    (other,) = (pid for pid, one in machine.all.items() if one.session == machine.job)
    assert machine.found() == set()
    machine.become_other(other)
    machine.copy_mark(other)
    assert machine.found() == set()


def test_who_has_dropped_the_mark_belongs_by_its_session_though_the_first_has_ended() -> None:
    machine = Machine()
    bare = machine.fork(machine.job)
    machine.forget_mark(bare)
    end_the_first(machine, US)
    assert machine.found() == {bare}
    unseen = machine.first._replace(held_ticks=0)
    assert machine.found(unseen) == set()
    other = machine.fork(bare)
    machine.copy_mark(other)
    machine.exit(bare)
    late = machine.fork(other)
    machine.forget_mark(late)
    assert machine.found(unseen) == {other, late}


def test_one_of_the_session_that_belongs_shows_whose_its_number_is() -> None:
    machine = Machine()
    bare, marked = machine.fork(machine.job), machine.fork(machine.job)
    machine.forget_mark(bare)
    end_the_first(machine, US)
    assert machine.found(machine.first._replace(held_ticks=0)) == {bare, marked}


def test_a_copied_mark_is_none_where_the_parent_lives() -> None:
    machine = Machine()
    shell = machine.fork(3)
    machine.copy_mark(shell)
    machine.fork(shell)
    assert machine.found() == {machine.job}


def test_a_copy_in_another_session_of_that_number_doesn_t_make_it_the_job_s() -> None:
    machine = Machine()
    end_all_of_the_session(machine, US)
    newcomer = machine.fork(3)
    machine.setsid(newcomer)
    assert newcomer == machine.job
    between = machine.fork(newcomer)
    copy = machine.fork(between)
    machine.copy_mark(copy)
    machine.exit(between)
    assert machine.found() == {copy}
