"""Whether processes run, and how a test ends those that it has started."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def is_alive(pid: int) -> bool:
    """True if the process runs; a zombie doesn't."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()  # its name may be of any bytes
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")


def end_all(programs: Iterable[subprocess.Popen[Any]]) -> None:
    """Kill those that run, close their pipes, and reap them."""
    for program in programs:
        if program.poll() is None:
            program.kill()
        for pipe in (program.stdin, program.stdout, program.stderr):
            if pipe is not None and not pipe.closed:
                pipe.close()
        program.wait()
