"""The table of jobs: it fits the terminal, whatever is in it."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.cli.queue.table import table
from simple_gpu_scheduler.queue.records import STATES, QueuedJob
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.text.terminal import text_width
from simple_gpu_scheduler.units.durations import format_since

AWKWARD = ["a b", 'it\'s "é"', "new\nline", "\x1b[2J", "训练", "-x", "a,b"]


def entry(**facts: object) -> QueuedJob:
    bare = QueuedJob(
        1, "queued", b"true", 1, 1, 1, None, False, 0, 0, None, None, 1, "", "", None, 1.0, 0,
        None, None, None, None, "", (),
    )  # fmt: skip
    return bare._replace(**facts)  # type: ignore[arg-type]


words = st.sampled_from([*AWKWARD, "", "x" * 300])


@given(
    st.lists(
        st.builds(
            entry,
            id=st.integers(1, 10**9),
            state=st.sampled_from(STATES),
            command=words.map(os.fsencode),
            group=words,
            name=words,
            reason=words,
            blockers=st.integers(0, 3),
            gpu_names=st.sampled_from([(), ("0",), ("MIG-12345678-1111-2222-3333-444444444444",)]),
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(1, 200),
)
def test_no_line_is_wider_than_the_terminal(rows: list[QueuedJob], width: int) -> None:
    shown = table([*rows, "... 3 more"], 5.0, width)
    assert len(shown) == len(rows) + 2
    assert all(text_width(line) <= width and line.isprintable() for line in shown)


@given(words, words)
def test_elsewhere_everything_is_whole(command: str, name: str) -> None:
    (_, line) = table([entry(command=command.encode(), name=name, state="failed")], 5.0)
    assert all(printable(text) in line for text in (command, name))


def test_what_waits_for_its_time_says_so() -> None:
    early = entry(not_before_s=1e9 + 60, blockers=2)
    assert f"queued (waits for 2, from {format_since(1e9 + 60, 1e9)})" in table([early], 1e9)[1]
    assert "from" not in table([early], 1e9 + 61)[1]


def test_columns_that_are_empty_are_left_out() -> None:
    assert table([entry()], 5.0)[0].split() == ["ID", "state", "GPUs", "time", "command"]
    assert "group" in table([entry(), entry(group="g")], 5.0)[0].split()
