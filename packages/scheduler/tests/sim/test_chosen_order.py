"""The order that packing uses is the one that benchmarks/PLACEMENT.md speaks for."""

from __future__ import annotations

from pathlib import Path

from simple_gpu_scheduler.policy.orders import PACKING_ORDER

TABLE = Path(__file__).parents[4] / "benchmarks/PLACEMENT.md"


def test_the_chosen_order_is_near_the_best_everywhere_and_starves_nobody() -> None:
    rows = [
        line for line in TABLE.read_text().splitlines() if line.startswith(f"| **{PACKING_ORDER}")
    ]
    summaries = [row.split(" | ") for row in rows if row.count("|") == 8]
    assert len(summaries) == 2
    for _, makespan, wait, makespan_behind, wait_behind, _beyond, starved in summaries:
        assert float(makespan.split()[0]) < 0.75
        assert float(wait.split()[0]) < 0.5
        assert int(makespan_behind.rstrip("%")) <= 10
        assert int(wait_behind.rstrip("%")) <= 10
        assert starved.rstrip(" |") == "0"
