"""The fake driver, for a user's commands."""

from __future__ import annotations

import sys
from pathlib import Path

from .installation import Place

sys.path.insert(0, str(Path(__file__).parent.parent / "nvml"))
import fake


def with_driver(place: Place, folder: Path) -> None:
    """Let the commands of this user see two GPUs of 80 GB."""
    machine = fake.Machine(fake.compiled(folder), folder)
    machine.write(*(fake.card(f"GPU-{n}", memory="81559 400") for n in range(2)))
    names = ("LD_LIBRARY_PATH", "FAKE_NVML_STATE")
    place.env |= {name: machine.environ()[name] for name in names}
