"""Moved to `queue/launcher/main.py`; it is run by its path, without the package."""

import runpy
from pathlib import Path

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).parents[1] / "queue/launcher/main.py"), run_name="__main__")
