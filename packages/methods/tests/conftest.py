"""What the tests of the methods share: exact numbers, one thread, and the device they run on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "experiments"))


@pytest.fixture(autouse=True)
def _torch_defaults(request: pytest.FixtureRequest) -> Iterator[None]:
    """float64 unless asked otherwise, a seed, and no threads that disturb other tests."""
    before = torch.get_default_dtype(), torch.get_num_threads()
    device = torch.device(request.config.getoption("--device"))
    exact = request.node.get_closest_marker("float64") is not None
    torch.set_default_dtype(
        torch.float64 if exact else getattr(torch, request.config.getoption("--dtype"))
    )
    torch.set_num_threads(1)
    with torch.random.fork_rng(), device:
        torch.manual_seed(20200426)
        yield
    torch.set_default_dtype(before[0])
    torch.set_num_threads(before[1])
