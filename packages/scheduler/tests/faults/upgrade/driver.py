"""The fake driver, for a user's commands."""

from __future__ import annotations

from pathlib import Path

import fake_nvml

from .installation import Place


def with_driver(place: Place, folder: Path) -> None:
    """Let the commands of this user see two GPUs of 80 GB."""
    machine = fake_nvml.Machine(fake_nvml.compiled(folder), folder)
    machine.write(*(fake_nvml.card(f"GPU-{n}", memory="81559 400") for n in range(2)))
    names = ("LD_LIBRARY_PATH", "FAKE_NVML_STATE")
    place.env |= {name: machine.environ()[name] for name in names}
