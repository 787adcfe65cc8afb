"""Rows of cells as the lines of a table.

Cells are printable text. Widths are columns of the terminal, one for each column of the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from simple_gpu_scheduler.text.terminal import crop, pad, text_width

GAP = "  "  #: between two columns


def column_widths(rows: Iterable[Sequence[str]]) -> list[int]:
    """Return the width of the widest cell of each column."""
    return [max(map(text_width, column)) for column in zip(*rows, strict=True)]


def row_width(widths: Sequence[int]) -> int:
    """Return the width of a row with columns of these widths."""
    return sum(widths) + len(GAP) * (len(widths) - 1)


def narrow(widths: Sequence[int], least: Mapping[int, int], width: int) -> list[int]:
    """Return widths with which a row fits into `width`, as far as columns may give way.

    Args:
        widths: the widths that the columns would like to have.
        least: the width that each column keeps. The first column of the mapping gives way first.
            Columns that aren't in it keep their widths.
        width: of the terminal.
    """
    narrowed = list(widths)
    for column, kept in least.items():
        excess = row_width(narrowed) - width
        if excess > 0:
            narrowed[column] = max(min(kept, narrowed[column]), narrowed[column] - excess)
    return narrowed


def format_row(cells: Sequence[str], widths: Sequence[int], is_right: Sequence[bool]) -> str:
    """Return a line of the table: each cell cut or filled to the width of its column.

    Args:
        cells: one for each column. If there are more, the others stand as they are at the end.
        widths: of the columns.
        is_right: whether a column is aligned to the right, as numbers are.
    """
    parts = [
        pad(crop(cell, width), width, right=right)
        for cell, width, right in zip(cells, widths, is_right, strict=False)
    ]
    return GAP.join([*parts, *cells[len(widths) :]]).rstrip()


def format_table(rows: Sequence[Sequence[str]], is_right: Sequence[bool]) -> list[str]:
    """Return a line for each row, with columns as wide as their widest cells."""
    widths = column_widths(rows)
    return [format_row(row, widths, is_right) for row in rows]
