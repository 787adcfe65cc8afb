"""Nothing optional is imported before it is used; without it one is told what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

OPTIONAL = ("sklearn", "scipy", "zuko", "PIL", "matplotlib", "pandas")
#: These are for those who have the package.
NEED = {
    "iclr2020.anomaly.deep_sad_sklearn": "sklearn",
    "iclr2020.normalization.sparsity_sklearn": "sklearn",
    "iclr2020.flows.normalizing": "flows",
}


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )


def test_all_others_are_imported_without_any_of_them() -> None:
    code = f"""
import importlib, pkgutil, sys
class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {OPTIONAL!r}:
            raise AssertionError(f"{{name}} was imported")
sys.meta_path.insert(0, Forbidden())
import iclr2020
for one in pkgutil.walk_packages(iclr2020.__path__, "iclr2020."):
    if one.name not in {set(NEED)!r} and not one.name.endswith("__main__"):
        importlib.import_module(one.name)
"""
    done = python(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("module", "extra"), NEED.items())
def test_without_it_one_is_told_what_to_install(module: str, extra: str) -> None:
    hidden = dict.fromkeys(OPTIONAL)
    code = f"import sys; sys.modules.update({hidden!r}); import {module}"
    done = python(code)
    assert f'pip install "iclr2020-methods[{extra}]"' in done.stderr.splitlines()[-1]
