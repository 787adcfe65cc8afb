"""Rules of the design that a reader may rely on, kept by test and not by discipline."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import simple_gpu_scheduler

PACKAGE = Path(simple_gpu_scheduler.__file__).parent
PURE = {
    "__future__", "collections", "dataclasses", "enum", "itertools", "math", "re", "signal",
    "typing",
}  # fmt: skip
PURE_OURS = tuple(f"simple_gpu_scheduler.{name}" for name in ("errors", "job", "model"))

#: Who may import whom: a module may use those above its own line, and none below.
LAYERS = [
    ["printable"],
    ["errors", "job"],
    ["model", "durations", "devices", "memory_sizes", "quantiles"],
    [
        "gpu_ids",
        "directives",
        "script_heads",
        "times",
        "policy",
        "queue",
        "search",
        "ports",
        "device_ports",
        "leasing",
    ],
    [
        "intake",
        "occupancy",
        "availability",
        "who_has",
        "usage",
        "memory_care",
        "lease_format",
        "lease_ports",
        "patience",
    ],
    ["loop", "results", "sim"],
    ["adapters", "testing", "testing_devices", "testing_leases"],
    ["client"],
    ["executor_pool"],
    ["executor"],
    ["top"],
    ["cli"],
    ["entry"],
]


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", sorted((PACKAGE / "policy").glob("*.py")), ids=lambda p: p.name)
def test_the_policy_is_pure(path: Path) -> None:
    for module in imports(path):
        ours = module.startswith(("simple_gpu_scheduler.policy", *PURE_OURS))
        assert ours or module.split(".")[0] in PURE, f"{path.name} imports {module}"


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_no_import_points_upward(path: Path) -> None:
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if own == "__init__":
        return
    levels = {name: level for level, names in enumerate(LAYERS) for name in names}
    assert own in levels, f"{own} has no place in LAYERS"
    for module in imports(path):
        if module.split(".")[0] == "simple_gpu_scheduler" and room(module) not in ("", own):
            assert levels[room(module)] < levels[own], f"{own} imports {module}"
