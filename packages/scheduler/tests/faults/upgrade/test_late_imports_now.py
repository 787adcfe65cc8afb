"""What this version imports within functions is loaded before it serves, or can't be needed later.

A server or a pipe runs on while its package is upgraded or removed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import simple_gpu_scheduler

from .test_late_imports import late_imports

PACKAGE = Path(simple_gpu_scheduler.__file__).parent
NAME = PACKAGE.name

#: Needed only while a server or a pipe starts, or never by it.
AT_START = {
    "allocation.monitor": "chosen as it starts",
    "gpus.amd": "the driver is chosen as it starts",
    "gpus.amd_selection": "the driver is chosen as it starts",
    "gpus.nvml": "the driver is chosen as it starts",
    "queue.store.memory_copy": "a server doesn't serve a copy",
    "cli.run.dry_run": "it runs no jobs",
    "gpus.processes": "chosen as it starts",
    "memory.estimates": "chosen as it starts",
    "memory.meter": "chosen as it starts",
    "memory.monitor": "chosen as it starts",
    "memory.peaks_file": "chosen as it starts",
    "pipe.joblog": "chosen as it starts",
    "pipe.json_events": "chosen as it starts",
    "pipe.progress_bar": "chosen as it starts",
    "pipe.memory_report": "chosen as it starts",
    "results.writer": "chosen as it starts",
}

#: It takes 10 ms, and only jobs with --vram need it. After an upgrade it is still there. But a
#: pipe whose package was removed can't start its first such job.
NOT_CHEAP = {"processes.stderr_relay"}

#: How each program comes to the point from which on it imports nothing of ours.
PROGRAMS = {
    "server": "import simple_gpu_scheduler.queue.server.main",
    "pipe": "from simple_gpu_scheduler.cli.run import command\n"
    "from simple_gpu_scheduler.cli.run.late_imports import import_late\nimport_late()",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_nothing_of_ours_is_imported_late(program: str) -> None:
    code = f"{PROGRAMS[program]}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    loaded = set(json.loads(done.stdout))
    ours = sorted(name for name in loaded if name.startswith(f"{NAME}."))
    late = {used for module in ours for used in used_late(module)} - loaded
    assert {name.removeprefix(f"{NAME}.") for name in late} <= AT_START.keys() | NOT_CHEAP


def used_late(module: str) -> Iterator[str]:
    """The modules of ours that a module imports within functions."""
    for imported, name in late_imports(source(module).read_bytes()):
        is_module = source(f"{imported}.{name}").exists()
        yield f"{imported}.{name}" if is_module else imported


def source(module: str) -> Path:
    """The file of a module."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
