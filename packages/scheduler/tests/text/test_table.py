"""The columns of tables: their widths, and which of them give way."""

from __future__ import annotations

from simple_gpu_scheduler.text.table import (
    column_widths,
    format_row,
    format_table,
    narrow,
    row_width,
)


def test_columns_are_as_wide_as_their_widest_cells() -> None:
    assert format_table([("name", "n"), ("a", "10"), ("long name", "2")], (False, True)) == [
        "name        n",
        "a          10",
        "long name   2",
    ]


def test_wide_characters_take_two_columns() -> None:
    assert column_widths([("名前", "x")]) == [4, 1]
    assert format_table([("名前", "x"), ("abcd", "y")], (False, False)) == ["名前  x", "abcd  y"]


def test_a_line_ends_with_its_last_character() -> None:
    assert format_row(("a", ""), (3, 4), (False, False)) == "a"


def test_cells_without_a_width_stand_as_they_are() -> None:
    assert format_row(("12", "a long command"), (4,), (True,)) == "  12  a long command"


def test_a_cell_that_is_too_long_is_cut() -> None:
    assert format_row(("a long name", "1"), (8, 1), (False, True)) == "a lon...  1"


def test_columns_give_way_in_order_down_to_what_they_keep() -> None:
    widths = [10, 20, 30]
    assert row_width(widths) == 64
    assert narrow(widths, {2: 8, 1: 5}, 64) == widths
    assert narrow(widths, {2: 8, 1: 5}, 50) == [10, 20, 16]
    assert narrow(widths, {2: 8, 1: 5}, 30) == [10, 8, 8]
    assert narrow(widths, {2: 8, 1: 5}, 1) == [10, 5, 8]


def test_a_narrow_column_does_not_grow() -> None:
    assert narrow([3, 20], {0: 8}, 5) == [3, 20]
