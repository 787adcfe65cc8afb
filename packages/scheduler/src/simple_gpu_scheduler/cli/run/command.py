"""`simple_gpu_scheduler`: run the commands of stdin on free GPUs."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from simple_gpu_scheduler.allocation.allocator import Allocator
from simple_gpu_scheduler.allocation.opening import open_availability, open_monitor
from simple_gpu_scheduler.cli.run.late_imports import LateImports
from simple_gpu_scheduler.cli.run.options import Settings, parse, read_settings
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.gpus.environ import LEASE_VARIABLE
from simple_gpu_scheduler.gpus.selection import GpuSelection, select_gpus
from simple_gpu_scheduler.pipe.console import Console, print_notice
from simple_gpu_scheduler.pipe.done_jobs import DoneJobs
from simple_gpu_scheduler.pipe.lines import LineSource
from simple_gpu_scheduler.pipe.loop import Pipe
from simple_gpu_scheduler.pipe.ports import Listener
from simple_gpu_scheduler.policy.model import Card
from simple_gpu_scheduler.policy.reasons import impossible
from simple_gpu_scheduler.processes.runner import Outputs, ProcessRunner
from simple_gpu_scheduler.processes.wait import KernelWait
from simple_gpu_scheduler.system.clock import SystemClock
from simple_gpu_scheduler.system.stdio import open_missing_outputs

if TYPE_CHECKING:
    from simple_gpu_scheduler.memory.estimates import MemoryEstimates
    from simple_gpu_scheduler.memory.monitor import MemoryMonitor
    from simple_gpu_scheduler.pipe.progress_bar import ProgressBar
    from simple_gpu_scheduler.results.writer import ResultsDir

_TICK_S = 1.0  #: the progress bar shows run times in seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    try:
        args = parse(sys.argv[1:] if argv is None else argv)
        for name in open_missing_outputs():
            if not args.dry_run:
                print_notice(f"{name} is closed: what the jobs print there is lost")
        settings = read_settings(args)
        gpus = select_gpus(args.gpus, print_notice)
        reason = impossible(settings.template, len(gpus.keys))
        if reason is not None:
            raise UsageError(f"--gpus-per-job {reason}")
        return _run(args, settings, gpus)
    except UsageError as error:
        print_notice(f"error: {error}")
        return 2
    except SgsError as error:
        print_notice(f"error: {error}")
        return 1
    except KeyboardInterrupt:  # before the pipe handles the signals
        return 130


def _run(args: argparse.Namespace, settings: Settings, gpus: GpuSelection) -> int:
    source = LineSource(0, b"\0" if args.null else b"\n")
    if args.dry_run:
        from simple_gpu_scheduler.cli.run.dry_run import dry_run

        monitor = open_monitor(gpus, avoid_foreign=False)
        capacities = monitor.read([]) if monitor else [Card(name) for name in gpus.keys]
        separator = b"\0" if args.null else b"\n"
        return dry_run(source, settings.template, capacities, _read_done_jobs(args), separator)
    shell = _find_shell(args.shell)
    allocator = _open_allocator(args, settings, gpus)
    results = _open_results(args)  # before the log: if this fails, no log is renamed for nothing
    try:
        return _run_jobs(args, settings, gpus, source, allocator, results, shell)
    finally:
        if results is not None:
            results.close()


def _run_jobs(
    args: argparse.Namespace,
    settings: Settings,
    gpus: GpuSelection,
    source: LineSource,
    allocator: Allocator,
    results: ResultsDir | None,
    shell: str,
) -> int:
    clock = SystemClock()
    recorders = _open_recorders(args, clock)
    estimates = _read_estimates(gpus) if args.vram == "auto" else None
    done = _read_done_jobs(args)  # after the log is locked by us
    bar = _make_bar(args, clock)
    pipe = Pipe(
        leases=allocator,
        source=source,
        runner=_make_runner(args, shell, results),
        wait=KernelWait(0),
        clock=clock,
        listeners=[
            _console(args),
            *_memory_report(args),
            *recorders,
            *_present(results, bar),
            LateImports(),
        ],
        template=settings.template,
        policy=settings.policy,
        halt=settings.halt,
        done=done,
        tick_s=_TICK_S if bar else None,
        memory=_make_memory_monitor(gpus, estimates),
    )
    if os.isatty(0):
        print_notice("reading commands from the terminal, one per line; ^D ends them")
    try:
        return pipe.run()
    finally:
        if bar:
            bar.close()
        if estimates is not None:
            _write_estimates(estimates)


def _present(*listeners: Listener | None) -> list[Listener]:
    return [listener for listener in listeners if listener is not None]


def _open_allocator(args: argparse.Namespace, settings: Settings, gpus: GpuSelection) -> Allocator:
    availability = open_availability(
        gpus,
        inside=os.environ.get(LEASE_VARIABLE),
        keep_free=settings.keep_free,
        avoid_foreign=args.gpus is None,
        **settings.idle,
    )
    allocator = Allocator(availability)
    reason = impossible(settings.template, len(gpus.keys), allocator.cards)
    if reason is not None:
        raise UsageError(f"--vram {reason}")
    warning = allocator.warn() if args.gpus is not None else None
    if warning:
        print_notice(f"warning: {warning}; using it as you named it")
    return allocator


def _make_memory_monitor(
    gpus: GpuSelection, estimates: MemoryEstimates | None
) -> MemoryMonitor | None:
    if gpus.devices is None:
        return None
    from simple_gpu_scheduler.gpus.processes import lineage
    from simple_gpu_scheduler.memory.meter import DriverMeter
    from simple_gpu_scheduler.memory.monitor import MemoryMonitor

    return MemoryMonitor(DriverMeter(gpus.devices, lineage, gpus.keys), estimates)


def _read_estimates(gpus: GpuSelection) -> MemoryEstimates:
    if gpus.devices is None:
        raise UsageError("--vram auto measures jobs through the driver, which doesn't answer here")
    from simple_gpu_scheduler.memory.estimates import MemoryEstimates
    from simple_gpu_scheduler.memory.peaks_file import peaks_path, read_peaks

    return MemoryEstimates(read_peaks(peaks_path()))


def _write_estimates(estimates: MemoryEstimates) -> None:
    from simple_gpu_scheduler.memory.peaks_file import peaks_path, write_peaks

    try:
        write_peaks(peaks_path(), estimates.peaks_mib)
    except SgsError as error:
        print_notice(f"warning: {error}; the next run has to measure again")


def _memory_report(args: argparse.Namespace) -> list[Listener]:
    if args.vram is None:
        return []
    from simple_gpu_scheduler.pipe.memory_report import MemoryReport

    return [MemoryReport(each=not args.quiet)]


def _read_done_jobs(args: argparse.Namespace) -> DoneJobs:
    if not (args.resume or args.resume_failed):
        return DoneJobs()
    from simple_gpu_scheduler.pipe.joblog import read_joblog

    return read_joblog(args.joblog, rerun_failed=args.resume_failed)


def _open_results(args: argparse.Namespace) -> ResultsDir | None:
    """Open the results directory; None, without an import, if there is no --results."""
    if args.results is None:
        return None
    from simple_gpu_scheduler.results.writer import ResultsDir

    results = ResultsDir(args.results)
    if results.others:
        print_notice(
            f"warning: {' and '.join(results.others)} writes to {args.results!r} too; a job whose "
            "number is taken there can't run: name another directory by --results"
        )
    return results


def _open_recorders(args: argparse.Namespace, clock: SystemClock) -> list[Listener]:
    """Open the job log and the stream of events, if there are such."""
    recorders: list[Listener] = []
    if args.joblog is not None:
        from simple_gpu_scheduler.pipe.joblog import Joblog

        joblog = Joblog(args.joblog, keep=args.resume or args.resume_failed)
        if joblog.others:
            who = " and ".join(sorted(joblog.others))
            print_notice(
                f"warning: {args.joblog!r} is locked by {who}, who does not own it; writing to it"
            )
        recorders.append(joblog)
    if args.json is not None:
        from simple_gpu_scheduler.pipe.json_events import EventStream, open_events

        events_fd = 1 if args.json == "-" else open_events(args.json)
        recorders.append(EventStream(events_fd, clock.wall_s))
    return recorders


def _make_runner(args: argparse.Namespace, shell: str, outputs: Outputs | None) -> ProcessRunner:
    run_id = f"{os.getpid()}-{time.time_ns():x}".encode()
    stdout_fd = 2 if args.json == "-" else 1
    return ProcessRunner(shell, os.environb, run_id, outputs=outputs, stdout_fd=stdout_fd)


def _find_shell(name: str) -> str:
    """Return the path of the shell; a name without a slash is searched in PATH."""
    folders = [""] if "/" in name else os.get_exec_path()
    for folder in folders:
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise UsageError(f"--shell {name!r}: no such program; expected a shell such as /bin/bash")


def _console(args: argparse.Namespace) -> Console:
    if args.quiet:
        return Console(None)
    return Console(2 if args.json == "-" else 1)


def _make_bar(args: argparse.Namespace, clock: SystemClock) -> ProgressBar | None:
    is_terminal = os.isatty(2) and os.environ.get("TERM", "dumb") != "dumb"
    is_shown = args.bar if args.bar is not None else is_terminal and not os.isatty(0)
    if not is_shown:
        return None
    from simple_gpu_scheduler.pipe.progress_bar import ProgressBar

    return ProgressBar(2, terminal=is_terminal, start_s=clock.now_s())
