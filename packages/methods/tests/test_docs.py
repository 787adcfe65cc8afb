"""The README's example runs; tests/test_site.py sees to the pages."""

from __future__ import annotations

import pytest
import torch

from .test_experiments import README


def test_the_readmes_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = README.read_text("utf-8").split("```python\n")[1].split("```")[0]
    torch.set_default_dtype(torch.float32)
    exec(compile(code, str(README), "exec"), {})
    printed = capsys.readouterr().out
    assert printed.startswith("tensor([")
    assert "@inproceedings{luo2020sumo," in printed
