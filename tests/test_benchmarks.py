"""The benchmarks run, and what the README says of speed is what they printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_a_quick_benchmark_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--only", "throughput,idle"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\| \*\*simple_gpu_scheduler\*\*", done.stdout, re.MULTILINE)


def test_the_readme_quotes_the_committed_results() -> None:
    quoted = (ROOT / "README.md").read_text().split("## Speed")[1].split("\n## ")[0]
    rows = [line for line in quoted.splitlines() if line.startswith("|")]
    results = (ROOT / "benchmarks/RESULTS.md").read_text().splitlines()
    assert len(rows) > 5
    assert [row for row in rows if row not in results] == []
