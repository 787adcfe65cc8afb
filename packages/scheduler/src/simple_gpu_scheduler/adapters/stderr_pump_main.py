"""Moved to `processes/stderr_relay_main.py`; it is run by its path, without the package."""

import runpy
from pathlib import Path

if __name__ == "__main__":
    runpy.run_path(
        str(Path(__file__).parents[1] / "processes/stderr_relay_main.py"), run_name="__main__"
    )
