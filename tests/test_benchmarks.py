"""The benchmarks run, and what docs/benchmarks.md says of speed is what they printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from simple_gpu_scheduler.policy.model import Card
from simple_gpu_scheduler.policy.orders import ORDERS
from simple_gpu_scheduler.sim import synthetic
from simple_gpu_scheduler.sim.simulate import simulate
from simple_gpu_scheduler.sim.trace import Task, with_load

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.placement import bounds

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


def test_a_quick_benchmark_of_the_queue_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.queue", "--quick", "--peers", "none"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| (?:\*\*sgs\*\*|1,000 queued) \| \d", done.stdout, re.MULTILINE)
    assert len(rows) == 6, "four figures of ours, two tables of the largest queue"
    assert "not measured" not in done.stdout.split("## No-op")[0]


@pytest.mark.parametrize("command", ["benchmarks", "benchmarks.queue"])
def test_a_commit_that_is_none_is_refused_before_anything_is_measured(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", command, "--quick", "--against", "no-such-commit"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert "--against" in done.stderr
    assert "no-such-commit" in done.stderr


def test_the_page_of_benchmarks_quotes_the_committed_results() -> None:
    quoted = (ROOT / "docs/benchmarks.md").read_text().split("\n## More")[0]
    rows = [line for line in quoted.splitlines() if line.startswith("|")]
    results = (ROOT / "benchmarks/RESULTS.md").read_text().splitlines()
    assert len(rows) > 5
    assert [row for row in rows if row not in results] == []


@pytest.mark.parametrize("mix", ["small", "mixed", "whole"])
@pytest.mark.parametrize("load", [1.5, float("inf")])
def test_no_policy_beats_what_none_can(mix: str, load: float) -> None:
    tasks = with_load(synthetic.synthetic(200, 1000, synthetic.MIXES[mix], seed=5), 4, load)
    cards = [Card(str(n), memory_mib=1000) for n in range(4)]
    for order in ORDERS:
        ran = simulate(tasks, cards, order, runtimes_known=True)
        wait_s = sum(one.wait_s for one in ran) / len(ran)
        assert max(one.end_s for one in ran) >= bounds.end_s(tasks, 4, 1000) - 1e-6
        assert wait_s >= bounds.mean_wait_s(tasks, 4, 1000) - 1e-6


def test_bounds_worked_out_by_hand() -> None:
    two = [Task(0, 10), Task(0, 4), Task(0, 1)]
    assert bounds.end_s(two, 1, 1000) == 15
    assert bounds.mean_wait_s(two, 1, 1000) == pytest.approx((0 + 1 + 5) / 3)
    later = [Task(0, 10), Task(2, 4)]
    assert bounds.end_s(later, 1, 1000) == 14
    assert bounds.mean_wait_s(later, 1, 1000) == pytest.approx(3.2 / 2), (
        "[0, 2] and [6, 14], [2, 6]"
    )
