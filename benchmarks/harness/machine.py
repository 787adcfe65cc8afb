"""Facts of the machine that matter to the figures, and none that identify it."""

from __future__ import annotations

import os
import platform
import re
from datetime import datetime, timezone
from pathlib import Path


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.machine()


def kernel() -> str:
    """The kernel's version without the suffix that a provider gave it."""
    found = re.match(r"\d+(\.\d+)*", platform.release())
    return f"{platform.system()} {found[0] if found else ''}".strip()


def memory_gib() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def facts() -> list[tuple[str, str]]:
    return [
        ("Processor", f"{len(os.sched_getaffinity(0))} CPUs, {cpu_model()}"),
        ("Memory", f"{memory_gib()} GiB"),
        ("Kernel", kernel()),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("Date", datetime.now(timezone.utc).strftime("%Y-%m-%d")),
    ]
