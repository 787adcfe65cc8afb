"""What is seen of jobs on GPUs, by a meter that a test speaks for, under a virtual clock."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from simple_gpu_scheduler.gpus.records import Gpu, GpuProcess, JobProcess, Lineage
from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.memory.meter import DriverMeter
from simple_gpu_scheduler.memory.monitor import MemoryMonitor
from simple_gpu_scheduler.pipe.events import Ended, Notice
from simple_gpu_scheduler.pipe.joblog import DoneJobs
from simple_gpu_scheduler.pipe.loop import Pipe
from simple_gpu_scheduler.policy.model import Card, PipePolicy
from simple_gpu_scheduler.testing.gpus import FakeDevices
from simple_gpu_scheduler.testing.pipe import (
    FakeRunner,
    FakeWait,
    FreeLeases,
    ListSource,
    ManualClock,
    Recorder,
)


class Meter:
    """Each job has a process on a card from some age on; notes when it is asked."""

    def __init__(self, clock: ManualClock, uses: Sequence[tuple[float, str, int]]) -> None:
        self.clock = clock
        self.looks: list[tuple[float, int]] = []
        self._uses = uses

    def processes(self, jobs: Collection[int]) -> list[JobProcess]:
        now_s = self.clock.now_s()
        self.looks.append((now_s, len(jobs)))
        return [
            JobProcess(pid, pid + 1, "python3", gpu, gpu, mib)
            for pid in jobs
            for since_s, gpu, mib in self._uses
            if now_s >= since_s
        ]


class World:
    """One run."""

    def __init__(
        self,
        *commands: str,
        uses: Sequence[tuple[float, str, int]] = (),
        memory_mib: int | None = None,
    ) -> None:
        clock = ManualClock()
        runner = FakeRunner(clock)
        recorder = Recorder()
        self.meter = Meter(clock, uses)
        Pipe(
            leases=FreeLeases([Card("0", memory_mib=9000), Card("1", memory_mib=9000)]),
            source=ListSource([command.encode() for command in commands]),
            runner=runner,
            wait=FakeWait(clock, runner),
            clock=clock,
            listeners=[recorder],
            template=Job(0, b"", memory_mib=memory_mib),
            policy=PipePolicy(),
            done=DoneJobs(),
            memory=MemoryMonitor(self.meter, None),
        ).run()
        self.ends = [event for event in recorder.events if isinstance(event, Ended)]
        self.notices = [event.text for event in recorder.events if isinstance(event, Notice)]


def test_a_job_is_looked_at_ever_more_rarely() -> None:
    world = World("sleep 50")
    assert world.meter.looks == [(at_s, 1) for at_s in (1, 2, 4, 8, 16, 32)]


def test_one_look_serves_all_jobs() -> None:
    world = World("sleep 3.5", "sleep 2.5", memory_mib=100)
    assert world.meter.looks == [(0.25, 2), (0.5, 2), (1, 2), (2, 2), (3, 1)]


def test_the_driver_is_left_alone_by_short_jobs() -> None:
    assert World(*["sleep 0.9"] * 20).meter.looks == []


def test_a_job_of_a_second_is_measured() -> None:
    (ended,) = World("sleep 1", uses=[(0.4, "0", 700)], memory_mib=100).ends
    assert ended.peak_vram_mib == 700


def test_a_peak_is_the_most_on_one_gpu() -> None:
    uses = [(0.0, "0", 300), (0.0, "0", 300), (2.0, "0", 300), (0.0, "1", 800)]
    (ended,) = World("sleep 5 # sgs: gpus=2", uses=uses, memory_mib=100).ends
    assert (ended.peak_vram_mib, ended.other_gpus) == (900, ())


def test_others_are_not_measured() -> None:
    (ended,) = World("sleep 5", uses=[(0.0, "0", 300)]).ends
    assert ended.peak_vram_mib is None


def test_a_job_elsewhere_is_told_of_once_and_recorded() -> None:
    world = World("sleep 100", "sleep 1", uses=[(10.0, "1", 5), (30.0, "7", 5)])
    assert world.notices == [
        "job 1 was given GPU 0, but its process 1002 (python3) uses GPU 1; "
        "does it set CUDA_VISIBLE_DEVICES itself?"
    ]
    assert [ended.other_gpus for ended in world.ends] == [(), ("1", "7")]


def test_a_job_where_it_belongs_is_not() -> None:
    world = World("sleep 9", uses=[(0.0, "0", 5)], memory_mib=100)
    assert world.notices == []
    assert [ended.other_gpus for ended in world.ends] == [()]


def test_cards_are_named_as_the_user_names_them() -> None:
    """41 is a job, 42 its child, 43 in its session; 50 is somebody else's."""
    parents = {41: (41, 1), 42: (42, 41, 1), 43: (43, 1), 50: (50, 1)}
    gpus = [
        Gpu(0, "GPU-a", processes=(GpuProcess(42, name="py", memory_mib=5), GpuProcess(50))),
        Gpu(1, "GPU-b", processes=(GpuProcess(41),)),
        Gpu(2, "MIG-c", parent="GPU-c", processes=(GpuProcess(43),)),
        Gpu(3, "MIG-d", parent="GPU-d", processes=(GpuProcess(43),)),
    ]
    devices = FakeDevices(gpus)
    meter = DriverMeter(
        devices,
        lambda pid: Lineage(parents[pid], 41 if pid == 43 else 1),
        {"GPU-": "GPU-a", "two": "GPU-c"},
    )
    assert meter.processes([41]) == [
        JobProcess(41, 42, "py", "GPU-", "GPU-", 5),
        JobProcess(41, 41, "", "1", "1"),
        JobProcess(41, 43, "", "MIG-c", "two"),
        JobProcess(41, 43, "", "MIG-d", "3"),
    ]
    devices.driver_error = "gone"
    assert meter.processes([41]) == []
