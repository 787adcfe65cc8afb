"""Compiles the three small C programs, and a library that peers need."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import BenchmarkError

HERE = Path(__file__).resolve().parents[1]
BUILD = HERE / "build"


@dataclass(frozen=True)
class Tools:
    floor: Path
    meter: Path
    stamp: Path


def build_tools() -> Tools:
    BUILD.mkdir(exist_ok=True)
    return Tools(
        *(compile_tool(HERE / "harness" / f"{name}.c") for name in ("floor", "meter", "stamp"))
    )


def compile_tool(source: Path) -> Path:
    """Compiles one source file, statically where the system has a static C library."""
    target = BUILD / source.stem
    if target.exists() and target.stat().st_mtime >= source.stat().st_mtime:
        return target
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler) is None:
        raise BenchmarkError(
            f"no C compiler ({compiler}): apt-get install gcc libc6-dev, or set CC"
        )
    output = ""
    for flags in (["-static"], []):
        command = [compiler, "-O2", "-Wall", *flags, "-o", str(target), str(source)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if result.returncode == 0:
            return target
        output = result.stderr
    raise BenchmarkError(f"cannot compile {source.name}:\n{output}")


def compile_library(source: Path, name: str) -> Path:
    """Compiles one source file to a shared library."""
    target = BUILD / name
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        command = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o"]
        result = subprocess.run(
            [*command, str(target), str(source)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if result.returncode != 0:
            raise BenchmarkError(f"cannot compile {source.name}:\n{result.stderr}")
    return target
