"""What the old version imports within functions is still there, if it may be needed late."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from . import archive

#: Modules of the old version that import others within functions, but only as they start: an
#: upgrade later than that is too late to harm them.
AT_START = frozenset({
    "adapters/queue_server_main.py",
    "cli/change.py",
    "cli/completion.py",
    "cli/completion_spec.py",
    "cli/edit.py",
    "cli/explain.py",
    "cli/gpus.py",
    "cli/overview.py",
    "cli/pipe.py",
    "cli/queued_jobs.py: queue_news",
    "cli/queued_jobs.py: queue_submission",
    "cli/server.py",
    "cli/status.py",
    "cli/submit.py: queue_scripts",
    "cli/submit.py: script_heads",
    "cli/submit_options.py: times",
    "cli/top.py",
    "search/commands.py",
    "search/draws.py",
    "search/space.py",
})  # fmt: skip


def late_imports(text: bytes) -> Iterator[tuple[str, str]]:
    """The modules of the package, and their names, that are imported within functions."""
    for function in ast.walk(ast.parse(text)):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("simple_"):
                    yield from ((str(node.module), alias.name) for alias in node.names)


def is_there(module: str, name: str) -> bool:
    """Whether the new version has it at the old place."""
    with suppress(ImportError):
        if hasattr(importlib.import_module(module), name):
            return True
        importlib.import_module(f"{module}.{name}")
        return True
    return False


@cache
def lost() -> set[str]:
    """Who imports what isn't there any more."""
    found = set()
    for path, text in archive.files(archive.kept()).items():
        file = str(Path(path).relative_to(f"{archive.SOURCES}/{archive.PACKAGE}"))
        for module, name in late_imports(text) if file.endswith(".py") else ():
            if file not in AT_START and not is_there(module, name):
                found.add(f"{file}: {module.rpartition('.')[2]}")
    return found


def test_what_an_old_process_may_import_late_is_still_there() -> None:
    assert lost() - AT_START == set()


def test_the_list_names_only_what_is_gone() -> None:
    assert {one for one in AT_START if ": " in one} <= lost()
