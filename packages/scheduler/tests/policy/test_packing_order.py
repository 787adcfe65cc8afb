"""The order that packing uses is the one that benchmarks/PLACEMENT.md speaks for."""

from __future__ import annotations

from pathlib import Path

from simple_gpu_scheduler.policy.orders import PACKING_ORDER

TABLE = Path(__file__).parents[4] / "benchmarks/PLACEMENT.md"


def rows(title: str) -> list[list[str]]:
    """The cells of the first table under a title of the page, without its head."""
    text = TABLE.read_text().split(f"\n## {title}\n")[1]
    table = text[text.index("\n| ") :].strip().split("\n\n")[0]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()[2:]]


def test_the_chosen_order_is_near_the_best_everywhere_and_nobody_is_late() -> None:
    chosen = [cells for cells in rows("All policies") if cells[0] == f"**{PACKING_ORDER}**"]
    [[_, makespan, wait, makespan_behind, wait_behind, late]] = chosen
    assert float(makespan.split()[0]) < 0.8
    assert float(wait.split()[0]) < 0.4
    assert int(makespan_behind.rstrip("%")) <= 10
    assert int(wait_behind.rstrip("%")) <= 10
    assert late == "0"


def test_it_beats_first_come_first_served_by_far_on_the_whole_trace() -> None:
    trace = [cells for cells in rows("The chosen order") if cells[0].startswith("openb, in one")]
    assert len(trace) == 3
    for _, makespan, _, _, wait, _, _, _, late in trace:
        assert float(makespan.split()[0]) < 0.85
        assert float(wait.split()[0]) < 0.8
        assert late == "0"
