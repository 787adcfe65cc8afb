"""The page of help. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from simple_gpu_scheduler.text.terminal import text_width
from simple_gpu_scheduler.top.screen.spans import Line, Span, line, wrap

_NOTE = (
    "The list: running jobs; ready jobs, the next first; jobs that depend on others; held jobs; "
    "ended jobs, the latest first. (2) asks for 2 GPUs, (1/4) for a quarter of one."
)


def render_help(rows: Sequence[tuple[str, str]], width: int) -> list[Line]:
    """One line for each row (keys, what they do), and a note on the order of the list."""
    column = max((text_width(keys) for keys, _ in rows), default=0)
    lines = [line(Span(f"  {keys.ljust(column)}  ", "bold"), what) for keys, what in rows]
    return [*lines, (), *(line(f"  {text}") for text in wrap(_NOTE, width - 4, at_words=True))]
