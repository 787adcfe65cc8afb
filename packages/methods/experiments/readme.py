"""The README's table of methods: from docstrings, experiments and the verdicts of RESULTS.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from common import Experiment

SOURCE = Path(__file__).resolve().parents[1] / "src"
_BEGIN, _END = "<!-- methods: written by `make results` -->\n", "<!-- end of methods -->"


def with_table(readme: str, experiments: Sequence[Experiment], results: str) -> str:
    """The README with its table as it is now.

    Args:
        results: the text of RESULTS.md.

    Raises:
        ValueError: the README has no place for a table.
    """
    begin, found, rest = readme.partition(_BEGIN)
    _old, also_found, end = rest.partition(_END)
    if not found or not also_found:
        raise ValueError(f"README.md: expected a line {_BEGIN.strip()!r} and one {_END!r}")
    table = "\n".join(_table(experiments, verdicts(results)))
    return f"{begin}{_BEGIN}{table}\n{_END}{end}"


def verdicts(results: str) -> dict[str, str]:
    """The verdict on each method, as the first table of RESULTS.md has it."""
    rows = (line.strip("| ").split(" | ") for line in results.splitlines() if line[:1] == "|")
    return {row[0]: row[2] for row in rows if len(row) == 3 and "`iclr2020." in row[0]}


def module_of(experiment: Experiment) -> str:
    """The module that an experiment is about."""
    found = re.search(r"`(iclr2020[\w.]*)`", experiment.method)
    assert found is not None, f"{experiment.name}: `method` names no module"
    return found[1]


def first_line(module: str) -> str:
    """The first sentence of a module's docstring; the module isn't imported for it."""
    path = SOURCE.joinpath(*module.split(".")).with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert text, f"{path}: no docstring"
    return " ".join(text.partition("\n\n")[0].split())


def _table(experiments: Sequence[Experiment], found: Mapping[str, str]) -> Iterator[str]:
    yield "| method | import | claim | verdict |"
    yield "|---|---|---|---|"
    for one in sorted(experiments, key=module_of):
        module = module_of(one)
        verdict = found.get(one.method, "**not run**")
        yield f"| {first_line(module)} | `{module}` | {one.claim} | {verdict} |"
