"""The figures of the hyperparameter search: lines printed into a pipe."""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.bench import Bench
from benchmarks.harness.errors import RunFailed
from benchmarks.harness.peers import INSTALL, ORIGINAL, ORIGINAL_BIN, OURS
from benchmarks.harness.process import MILLISECOND, Run
from benchmarks.harness.report import Column, Row, Section

TIMEOUT_S = 180.0
BLOCK = 1 << 20
N_SAMPLES = 100

NAIVE = """
import itertools, sys
pattern, *parameters = sys.argv[1:]
names = [parameter.partition("=")[0] for parameter in parameters]
values = [parameter.partition("=")[2].split() for parameter in parameters]
for combination in itertools.product(*values):
    print(pattern.format(**dict(zip(names, combination))))
"""


@dataclass(frozen=True)
class Space:
    """A grid: the same values for each of some parameters."""

    names: str
    values: int

    @property
    def size(self) -> int:
        return int(self.values ** len(self.names))

    @property
    def pattern(self) -> str:
        return "train " + " ".join(f"--{name} {{{name}}}" for name in self.names)

    @property
    def output_bytes(self) -> int:
        """The length of all lines, in whatever order they are printed."""
        fixed = len(self.pattern) - len("{x}") * len(self.names) + 1
        digits = sum(len(str(value)) for value in range(self.values))
        return self.size * fixed + len(self.names) * digits * (self.size // self.values)

    @property
    def title(self) -> str:
        return (
            f"{self.size:,} combinations ({len(self.names)} parameters with {self.values} values)"
        )


@dataclass(frozen=True)
class Generator:
    """A command that prints lines."""

    key: str
    title: str
    command: tuple[str, ...]
    lines: int
    output_bytes: int | None = None  # where every run must print as many
    install: str = INSTALL

    @property
    def installed(self) -> bool:
        return shutil.which(self.command[0]) is not None


@dataclass(frozen=True)
class Printed:
    """What came out of a pipe."""

    first_ns: int
    last_ns: int
    lines: int
    length: int


def generators(folder: Path, key: str, title: str, space: Space, install: str) -> list[Generator]:
    """simple_hypersearch in each of its modes."""
    program = (str(folder / "simple_hypersearch"), space.pattern)
    values = [str(value) for value in range(space.values)]
    parameters = tuple(word for name in space.names for word in ("-p", name, *values))
    some = min(N_SAMPLES, space.size)
    modes: list[tuple[str, tuple[str, ...], int, int | None]] = [
        ("grid", (), space.size, space.output_bytes),
        ("shuffled_grid", (), space.size, space.output_bytes),
        ("grid", ("--n-samples", str(some)), some, None),
        ("shuffled_grid", ("--n-samples", str(some)), some, None),
    ]
    return [
        Generator(
            " ".join((key, mode, *extra)),
            " ".join((title, mode, *extra)),
            (*program, *parameters, "--sampling-mode", mode, *extra),
            lines,
            length,
            install,
        )
        for mode, extra, lines, length in modes
    ]


def others(space: Space) -> list[Generator]:
    values = " ".join(str(value) for value in range(space.values))
    parameters = [f"{name}={values}" for name in space.names]
    zeros = " ".join(f"--{name} 0" for name in space.names[1:])
    counter = f"train --{space.names[0]} %.0f {zeros}"
    return [
        Generator(
            "awk", "awk, nested loops", ("awk", awk_program(space)), space.size, space.output_bytes
        ),
        Generator(
            "seq",
            "seq -f (counts, no grid)",
            ("seq", "-f", counter, "0", str(space.size - 1)),
            space.size,
        ),
        Generator(
            "itertools",
            "Python: itertools.product, format, print",
            (sys.executable, "-c", NAIVE, space.pattern, *parameters),
            space.size,
            space.output_bytes,
        ),
    ]


def awk_program(space: Space) -> str:
    loops = " ".join(
        f"for ({name} = 0; {name} < {space.values}; {name}++)" for name in space.names
    )
    pattern = space.pattern
    for name in space.names:
        pattern = pattern.replace(f"{{{name}}}", "%d")
    return f'BEGIN {{ {loops} printf "{pattern}\\n", {", ".join(space.names)} }}'


def grid(bench: Bench) -> Section:
    return compared(
        bench,
        "grid",
        Space("abc", bench.sizes.grid_values),
        bench.sizes.few_repeats,
        with_original=True,
    )


def big_grid(bench: Bench) -> Section:
    """Once only, since it takes long and spreads little."""
    return compared(bench, "biggrid", Space("abcdefg", 10), 1, with_original=bench.full)


def compared(bench: Bench, key: str, space: Space, repeats: int, with_original: bool) -> Section:
    ours = generators(
        bench.ours, OURS, "**simple_hypersearch**", space, "pip install ./packages/scheduler"
    )
    original = generators(ORIGINAL_BIN, ORIGINAL, "0.1.4:", space, INSTALL)
    for one in bench.earlier:
        ours += generators(one.folder, one.commit, f"commit {one.commit}:", space, INSTALL)
    subjects = [*ours, *(original if with_original else []), *others(space)]
    rows = bench.interleave(key, subjects, lambda generator: printed(bench, generator), repeats)
    if not with_original:
        skipped = [Row(item.key, item.title, note="only with --full") for item in original]
        rows[len(ours) : len(ours)] = skipped
    return Section(
        key,
        f"Hyperparameter search, {space.title}",
        "Printed into a pipe. From the start of the command to its first output and to its exit; "
        "start-up included. Memory is peak resident memory.",
        [
            Column("rate", "lines/s", 0),
            Column("first", "first line ms"),
            Column("total", "total ms", 0),
            Column("memory", "memory MB"),
        ],
        rows,
    )


def printed(bench: Bench, generator: Generator) -> dict[str, float]:
    with (
        bench.folders() as (folder, _disk),
        Run(
            bench.tools.meter, generator.command, folder, bench.environment, stdout=subprocess.PIPE
        ) as run,
    ):
        output = drain(run)
        usage = run.wait(10)
    check_output(generator, output)
    return {
        "rate": generator.lines / usage.wall_ms * 1000,
        "first": (output.first_ns - usage.started_ns) / MILLISECOND,
        "total": usage.wall_ms,
        "memory": usage.peak_kib * 1024 / 1e6,
    }


def check_output(generator: Generator, output: Printed) -> None:
    if output.lines != generator.lines:
        raise RunFailed(f"printed {output.lines} lines, not {generator.lines}")
    if generator.output_bytes not in (None, output.length):
        raise RunFailed(f"printed {output.length} bytes, not {generator.output_bytes}")


def drain(run: Run) -> Printed:
    """Reads and counts until the command closes its output."""
    assert run.process.stdout is not None
    descriptor = run.process.stdout.fileno()
    fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, BLOCK)
    deadline = time.monotonic() + TIMEOUT_S
    first_ns = lines = length = 0
    while block := read_block(descriptor, deadline):
        first_ns = first_ns or time.monotonic_ns()
        lines += block.count(b"\n")
        length += len(block)
    return Printed(first_ns, time.monotonic_ns(), lines, length)


def read_block(descriptor: int, deadline: float) -> bytes:
    ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
    if not ready:
        raise RunFailed(f"still printing after {TIMEOUT_S:.0f} s")
    return os.read(descriptor, BLOCK)
