"""Says what GPU memory jobs had of what they asked for, so that the next sweep asks right."""

from __future__ import annotations

from simple_gpu_scheduler.pipe.console import notice
from simple_gpu_scheduler.pipe.events import Ended, Event, Finished
from simple_gpu_scheduler.units.sizes import show_memory


class MemoryReport:
    """Implements `ports.Listener`; writes to stderr."""

    def __init__(self, *, each: bool) -> None:
        """`each`: say it of each job, too, and not only at the end."""
        self._each = each
        self._asked_mib = 0
        self._peaks_mib: list[int] = []

    def on_event(self, event: Event) -> None:
        """Compare what was asked for with what was measured."""
        if isinstance(event, Ended):
            self._compare(event, event.running.job.memory_mib)
        elif isinstance(event, Finished) and self._peaks_mib:
            notice(verdict(self._asked_mib, self._peaks_mib))

    def _compare(self, event: Ended, asked_mib: int | None) -> None:
        self._asked_mib = max(self._asked_mib, asked_mib or 0)
        peak_mib = event.peak_vram_mib
        if peak_mib is not None:
            self._peaks_mib.append(peak_mib)
            if self._each:
                notice(one_verdict(event.running.job.seq, asked_mib, peak_mib))


def one_verdict(seq: int, asked_mib: int | None, peak_mib: int) -> str:
    """What one job had."""
    if asked_mib is None:
        return f"job {seq} had {show_memory(peak_mib)} of GPU memory"
    more = "; that is more than it asked for" if peak_mib > asked_mib else ""
    had, asked = show_memory(peak_mib), show_memory(asked_mib)
    return f"job {seq} had {had} of GPU memory, asked {asked}{more}"


def verdict(asked_mib: int, peaks_mib: list[int]) -> str:
    """What all jobs had."""
    most_mib = max(peaks_mib)
    jobs = "1 job" if len(peaks_mib) == 1 else f"{len(peaks_mib)} jobs"
    asked = f"asked {show_memory(asked_mib)}, " if asked_mib else ""
    text = f"GPU memory: {asked}measured at most {show_memory(most_mib)}"
    if most_mib > asked_mib > 0:
        return f"{text} ({jobs}): ask for more"
    return f"{text} ({jobs})"
