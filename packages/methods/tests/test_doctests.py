"""The examples in the docstrings print what they say they print."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest
import torch

import iclr2020

NAMES = ["iclr2020", *(one.name for one in pkgutil.walk_packages(iclr2020.__path__, "iclr2020."))]


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("__main__")])
def test_examples(name: str, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--device") != "cpu":
        return  # what they print names no device
    torch.set_default_dtype(torch.float32)  # as a user has it
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    assert doctest.testmod(importlib.import_module(name), optionflags=flags).failed == 0
