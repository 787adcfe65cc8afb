"""The lines of the help. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from simple_gpu_scheduler.text.terminal import text_width
from simple_gpu_scheduler.top.screen.spans import Line, Span, line, wrapped

_NOTE = (
    "The list: running jobs; ready jobs, the next first; jobs that depend on others; held jobs; "
    "ended jobs, the latest first. (2) asks for 2 GPUs, (1/4) for a quarter of one."
)


def help_lines(rows: Sequence[tuple[str, str]], width: int) -> list[Line]:
    """A line for each row of keys and what they do, and a note on the list."""
    column = max((text_width(keys) for keys, _ in rows), default=0)
    lines = [line(Span(f"  {keys.ljust(column)}  ", "bold"), what) for keys, what in rows]
    return [*lines, (), *(line(f"  {text}") for text in wrapped(_NOTE, width - 4, words=True))]
