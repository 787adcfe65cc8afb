"""Reports the GPU memory that jobs used and asked for, so that the next sweep asks for enough."""

from __future__ import annotations

from simple_gpu_scheduler.pipe.console import print_notice
from simple_gpu_scheduler.pipe.events import Ended, Event, Finished
from simple_gpu_scheduler.units.sizes import format_memory


class MemoryReport:
    """Implements `pipe.ports.Listener`; writes to stderr."""

    def __init__(self, *, each: bool) -> None:
        """`each`: report each job, too, not only all jobs at the end."""
        self._each = each
        self._asked_mib = 0
        self._peaks_mib: list[int] = []

    def on_event(self, event: Event) -> None:
        """Report an ended job, or the whole run."""
        if isinstance(event, Ended):
            self._on_ended(event, event.running.job.memory_mib)
        elif isinstance(event, Finished) and self._peaks_mib:
            print_notice(format_all(self._asked_mib, self._peaks_mib))

    def _on_ended(self, event: Ended, asked_mib: int | None) -> None:
        self._asked_mib = max(self._asked_mib, asked_mib or 0)
        peak_mib = event.peak_vram_mib
        if peak_mib is not None:
            self._peaks_mib.append(peak_mib)
            if self._each:
                print_notice(format_job(event.running.job.seq, asked_mib, peak_mib))


def format_job(seq: int, asked_mib: int | None, peak_mib: int) -> str:
    """The line for one job."""
    if asked_mib is None:
        return f"job {seq} had {format_memory(peak_mib)} of GPU memory"
    more = "; that is more than it asked for" if peak_mib > asked_mib else ""
    had, asked = format_memory(peak_mib), format_memory(asked_mib)
    return f"job {seq} had {had} of GPU memory, asked {asked}{more}"


def format_all(asked_mib: int, peaks_mib: list[int]) -> str:
    """The line for all jobs: the most that was asked for, and the most that was measured."""
    most_mib = max(peaks_mib)
    jobs = "1 job" if len(peaks_mib) == 1 else f"{len(peaks_mib)} jobs"
    asked = f"asked {format_memory(asked_mib)}, " if asked_mib else ""
    text = f"GPU memory: {asked}measured at most {format_memory(most_mib)}"
    if most_mib > asked_mib > 0:
        return f"{text} ({jobs}): ask for more"
    return f"{text} ({jobs})"
