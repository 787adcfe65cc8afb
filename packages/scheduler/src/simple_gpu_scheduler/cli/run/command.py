"""`simple_gpu_scheduler`: run the commands of stdin on the GPUs that are free."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from simple_gpu_scheduler.allocation.allocator import Allocator
from simple_gpu_scheduler.allocation.opening import open_availability, open_monitor
from simple_gpu_scheduler.cli.run.options import Settings, parse, settings
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.gpus.environ import LEASE_VARIABLE
from simple_gpu_scheduler.gpus.selection import GpuSelection, select_gpus
from simple_gpu_scheduler.memory.monitor import MemoryMonitor
from simple_gpu_scheduler.pipe.console import Console, notice
from simple_gpu_scheduler.pipe.joblog import DoneJobs, Joblog, read_joblog
from simple_gpu_scheduler.pipe.lines import LineSource
from simple_gpu_scheduler.pipe.loop import Pipe
from simple_gpu_scheduler.pipe.ports import Listener
from simple_gpu_scheduler.pipe.progress_bar import ProgressBar
from simple_gpu_scheduler.policy.model import Card
from simple_gpu_scheduler.policy.reasons import impossible
from simple_gpu_scheduler.processes.runner import Outputs, ProcessRunner
from simple_gpu_scheduler.processes.wait import KernelWait
from simple_gpu_scheduler.system.clock import SystemClock
from simple_gpu_scheduler.system.stdio import open_missing_outputs

if TYPE_CHECKING:
    from simple_gpu_scheduler.memory.estimates import MemoryEstimates
    from simple_gpu_scheduler.results.writer import ResultsDir

_TICK_S = 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    try:
        args = parse(sys.argv[1:] if argv is None else argv)
        for name in open_missing_outputs():
            if not args.dry_run:
                notice(f"{name} is closed: what the jobs print there is lost")
        chosen = settings(args)
        gpus = select_gpus(args.gpus, notice)
        reason = impossible(chosen.template, len(gpus.keys))
        if reason is not None:
            raise UsageError(f"--gpus-per-job {reason}")
        return _run(args, chosen, gpus)
    except UsageError as error:
        notice(f"error: {error}")
        return 2
    except SgsError as error:
        notice(f"error: {error}")
        return 1
    except KeyboardInterrupt:  # before the loop took over the signals
        return 130


def _run(args: argparse.Namespace, chosen: Settings, gpus: GpuSelection) -> int:
    source = LineSource(0, b"\0" if args.null else b"\n")
    if args.dry_run:
        from simple_gpu_scheduler.cli.run.dry_run import dry_run

        watch = open_monitor(gpus, avoid_foreign=False)
        cards = watch.read([]) if watch else [Card(name) for name in gpus.keys]
        return dry_run(source, chosen.template, cards, _done(args), b"\0" if args.null else b"\n")
    shell = _shell(args.shell)
    leases = _leases(args, chosen, gpus)
    results = _results(args)  # before a log is set aside: that would be for nothing
    try:
        return _run_jobs(args, chosen, gpus, source, leases, results, shell)
    finally:
        if results is not None:
            results.close()


def _run_jobs(
    args: argparse.Namespace,
    chosen: Settings,
    gpus: GpuSelection,
    source: LineSource,
    leases: Allocator,
    results: ResultsDir | None,
    shell: str,
) -> int:
    clock = SystemClock()
    records = _records(args, clock)
    learned = _learned(gpus) if args.vram == "auto" else None
    done = _done(args)  # now that the log is ours
    bar = _bar(args, clock)
    pipe = Pipe(
        leases=leases,
        source=source,
        runner=_runner(args, shell, results),
        wait=KernelWait(0),
        clock=clock,
        listeners=[_console(args), *_verdicts(args), *records, *_listening(results, bar)],
        template=chosen.template,
        policy=chosen.policy,
        halt=chosen.halt,
        done=done,
        tick_s=_TICK_S if bar else None,
        memory=_memory(gpus, learned),
    )
    if os.isatty(0):
        notice("reading commands from the terminal, one a line; ^D ends them")
    try:
        return pipe.run()
    finally:
        if bar:
            bar.close()
        if learned is not None:
            _keep(learned)


def _listening(*these: Listener | None) -> list[Listener]:
    return [one for one in these if one is not None]


def _leases(args: argparse.Namespace, chosen: Settings, gpus: GpuSelection) -> Allocator:
    view = open_availability(
        gpus,
        inside=os.environ.get(LEASE_VARIABLE),
        keep_free=chosen.keep_free,
        avoid_foreign=args.gpus is None,
        **chosen.idle,
    )
    leases = Allocator(view)
    reason = impossible(chosen.template, len(gpus.keys), leases.cards)
    if reason is not None:
        raise UsageError(f"--vram {reason}")
    warning = leases.warn() if args.gpus is not None else None
    if warning:
        notice(f"warning: {warning}; using it as you named it")
    return leases


def _memory(gpus: GpuSelection, learned: MemoryEstimates | None) -> MemoryMonitor | None:
    if gpus.devices is None:
        return None
    from simple_gpu_scheduler.gpus.processes import lineage
    from simple_gpu_scheduler.memory.meter import DriverMeter

    return MemoryMonitor(DriverMeter(gpus.devices, lineage, gpus.keys), learned)


def _learned(gpus: GpuSelection) -> MemoryEstimates:
    if gpus.devices is None:
        raise UsageError("--vram auto measures jobs through the driver, which doesn't answer here")
    from simple_gpu_scheduler.memory.estimates import MemoryEstimates
    from simple_gpu_scheduler.memory.peaks_file import peaks_path, read_peaks

    return MemoryEstimates(read_peaks(peaks_path()))


def _keep(learned: MemoryEstimates) -> None:
    from simple_gpu_scheduler.memory.peaks_file import peaks_path, write_peaks

    try:
        write_peaks(peaks_path(), learned.peaks_mib)
    except SgsError as error:
        notice(f"warning: {error}; the next run has to measure again")


def _verdicts(args: argparse.Namespace) -> list[Listener]:
    if args.vram is None:
        return []
    from simple_gpu_scheduler.pipe.memory_report import MemoryReport

    return [MemoryReport(each=not args.quiet)]


def _done(args: argparse.Namespace) -> DoneJobs:
    if not (args.resume or args.resume_failed):
        return DoneJobs()
    return read_joblog(args.joblog, rerun_failed=args.resume_failed)


def _results(args: argparse.Namespace) -> ResultsDir | None:
    """What isn't asked for isn't imported."""
    if args.results is None:
        return None
    from simple_gpu_scheduler.results.writer import ResultsDir

    results = ResultsDir(args.results)
    if results.others:
        notice(
            f"warning: {' and '.join(results.others)} writes to {args.results!r} too; a job whose "
            "number is taken there can't run: name another directory by --results"
        )
    return results


def _records(args: argparse.Namespace, clock: SystemClock) -> list[Listener]:
    """Who else is told what happens."""
    records: list[Listener] = []
    if args.joblog is not None:
        joblog = Joblog(args.joblog, keep=args.resume or args.resume_failed)
        if joblog.others:
            who = " and ".join(sorted(joblog.others))
            notice(f"warning: {args.joblog!r} is locked by {who}, whose it isn't; writing to it")
        records.append(joblog)
    if args.json is not None:
        from simple_gpu_scheduler.pipe.json_events import EventStream, open_events

        events_fd = 1 if args.json == "-" else open_events(args.json)
        records.append(EventStream(events_fd, clock.wall_s))
    return records


def _runner(args: argparse.Namespace, shell: str, outputs: Outputs | None) -> ProcessRunner:
    run_id = f"{os.getpid()}-{time.time_ns():x}".encode()
    stdout_fd = 2 if args.json == "-" else 1
    return ProcessRunner(shell, os.environb, run_id, outputs=outputs, stdout_fd=stdout_fd)


def _shell(name: str) -> str:
    """The path of the shell, looked for in PATH."""
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


def _bar(args: argparse.Namespace, clock: SystemClock) -> ProgressBar | None:
    terminal = os.isatty(2) and os.environ.get("TERM", "dumb") != "dumb"
    wanted = args.bar if args.bar is not None else terminal and not os.isatty(0)
    return ProgressBar(2, terminal=terminal, begun_s=clock.now_s()) if wanted else None
