"""Rules of the design that a reader may rely on, kept by test and not by discipline."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import simple_gpu_scheduler

PACKAGE = Path(simple_gpu_scheduler.__file__).parent
NAME = PACKAGE.name

#: Who may import whom: a folder, or a module at the root, may use those above its line only.
LAYERS = [
    "text",
    "errors",
    "units system",
    "jobs files",
    "gpus policy",
    "leases",
    "processes memory",
    "allocation",
    "sim search pipe",
    "queue results",
    "client testing",
    "executors",
    "executor top",
    "cli",
    "entry",
]

#: Modules without input or output, without a clock and without randomness of their own.
PURE = {
    "text": "printable table terminal",
    "units": "durations sizes times",
    "jobs": "directives job script_header similarity validation",
    "gpus": "ids ports records",
    "policy": "capacity dispatch explain fit fragmentation model orders outcome placement plan "
    "reasons reservation termination topology",
    "leases": "format ledger ports records waiter_timeout",
    "memory": "estimates meter monitor oom polling ports",
    "processes": "membership ports records",
    "allocation": "capacity holders occupancy",
    "sim": "csv_trace forecast metrics quantiles report runtimes simulate synthetic trace",
    "pipe": "attempts events exit_status halt intake loop ports reporter shutdown start_pause",
    "queue": "attempt_end attempt_history edits job_ids journal kept_environ records recovery "
    "usage wrapped_command",
    "search": "arguments names template",
    "search.spaces": "choices distributions space",
    "search.samplers": "draws grid permutation sobol sobol_directions",
    "results": "cells file_names job metrics parsing ranking report table",
    "top.screen": "details gpu_table header job_table keys log_text scroll spans",
}

#: What they may use of the library: nothing in it reads, writes or waits. `random` is seeded.
PURE_LIBRARY = (
    "__future__ bisect collections contextlib csv dataclasses datetime decimal difflib enum errno "
    "functools hashlib heapq itertools json math random re shlex signal statistics typing "
    "unicodedata"
)

#: And of modules that do: encodings of file names, and the calendar of a time that is given.
PURE_PARTS = {"os": {"fsencode", "fsdecode"}, "time": {"localtime", "strftime"}}

#: Programs of the version before look for modules here; they go after one release.
SHIMS = {"adapters", "directives", "times", "policy.queue"}

#: A folder is one domain, and can be taken in at a glance.
MOST_MODULES = 24

MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imports(path: Path) -> Iterator[str]:
    """What a module imports, wherever in it; modules of ours by their names in the package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            for alias in node.names:
                module = f"{node.module}.{alias.name}".removeprefix(f"{NAME}.")
                is_module = node.module.split(".")[0] == NAME and module in MODULES
                yield f"{NAME}.{module}" if is_module else node.module


def own_imports(module: str) -> set[str]:
    """The modules of this package that a module imports."""
    found = {name for name in imports(MODULES[module]) if name.startswith(f"{NAME}.")}
    return {name.removeprefix(f"{NAME}.") for name in found}


def folder(module: str) -> str:
    return module.split(".")[0]


def parts_used(path: Path, library: str) -> set[str]:
    """Which attributes of a library's module are used."""
    return {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == library
    }


ALL_PURE = {"errors"} | {
    f"{place}.{name}" for place, names in PURE.items() for name in names.split()
}


@pytest.mark.parametrize("module", sorted(ALL_PURE))
def test_pure_modules_are_pure(module: str) -> None:
    path = MODULES[module]
    for used in imports(path):
        library = used.split(".")[0]
        if library == NAME:
            assert used.removeprefix(f"{NAME}.") in ALL_PURE, f"{module} imports {used}"
        elif library in PURE_PARTS:
            assert parts_used(path, library) <= PURE_PARTS[library], f"{module} uses {library}"
        else:
            assert library in PURE_LIBRARY.split(), f"{module} imports {used}"


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"__init__", ""}))
def test_no_import_points_upward(module: str) -> None:
    levels = {name: level for level, names in enumerate(LAYERS) for name in names.split()}
    own = folder(module)
    if SHIMS & {own, module}:
        return
    assert own in levels, f"{own} has no place in LAYERS"
    for used in own_imports(module):
        if folder(used) != own:
            assert levels[folder(used)] < levels[own], f"{module} imports {used}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    done: set[str] = set()
    on_the_way: list[str] = []

    def visit(module: str) -> None:
        assert module not in on_the_way, f"a circle: {[*on_the_way, module]}"
        if module not in done and module in MODULES:
            on_the_way.append(module)
            for used in own_imports(module):
                visit(used)
            done.add(on_the_way.pop())

    for module in MODULES:
        visit(module)


@pytest.mark.parametrize("place", sorted({path.parent for path in MODULES.values()}))
def test_a_folder_can_be_taken_in_at_a_glance(place: Path) -> None:
    modules = [path for path in place.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MOST_MODULES, f"{place.relative_to(PACKAGE)} holds {len(modules)}"


def test_the_page_shows_every_folder() -> None:
    page = (Path(__file__).parents[3] / "ARCHITECTURE.md").read_text()
    drawing = page.partition("A folder imports only")[2].partition("## The way of a job")[0]
    for names in LAYERS:
        for name in names.split():
            assert re.search(rf"\b{name}\b", drawing), f"ARCHITECTURE.md doesn't show {name}"
