from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from simple_gpu_scheduler.jobs.job import Line
from simple_gpu_scheduler.jobs.validation import MAX_COMMAND_BYTES
from simple_gpu_scheduler.pipe.lines import LineSource


def read_in_pieces(data: bytes, cuts: list[int], separator: bytes = b"\n") -> list[Line]:
    """All lines, where each fill gets the data up to the next cut."""
    read_fd, write_fd = os.pipe()
    source = LineSource(read_fd, separator)
    lines: list[Line] = []
    bounds = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    try:
        for start, end in zip([0, *bounds[:-1]], bounds, strict=True):
            os.write(write_fd, data[start:end])
            if end > start:
                source.fill()
            while (line := source.take()) is not None:
                lines.append(line)
        os.close(write_fd)
        source.fill()
        while (line := source.take()) is not None:
            lines.append(line)
        assert source.at_end
        assert source.complete
        assert source.known == len(lines)
    finally:
        os.close(read_fd)
    return lines


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
@example(b"a\nb", [])
@example(b"a\n\n\nb\n", [1, 2, 3])
@example(b"\xef\xbb\xbfa\n", [1, 2])
def test_lines_are_the_same_however_they_arrive(data: bytes, cuts: list[int]) -> None:
    expected = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    lines = read_in_pieces(data, cuts)
    assert [line.command for line in lines] == [line.removesuffix(b"\r") for line in expected]
    assert [line.seq for line in lines] == list(range(1, len(expected) + 1))
    assert [line.reason is not None for line in lines] == [b"\0" in line for line in expected]


@pytest.mark.parametrize("separator", [b"\n", b"\0"])
def test_a_byte_order_mark_at_the_beginning_is_dropped(separator: bytes) -> None:
    mark = b"\xef\xbb\xbf"
    data = separator.join([mark + b"a", mark + b"b", b""])
    lines = [line.command for line in read_in_pieces(data, [1, 2, 5], separator)]
    assert lines == [b"a", mark + b"b"]


@given(st.lists(st.binary(min_size=1, max_size=40).filter(lambda b: b"\0" not in b)))
def test_null_separated_jobs_keep_their_newlines(jobs: list[bytes]) -> None:
    lines = read_in_pieces(b"\0".join(jobs), [7], b"\0")
    assert [line.command for line in lines] == jobs
    assert all(line.reason is None for line in lines)


def test_the_longest_command_that_linux_takes() -> None:
    longest = b"a" * MAX_COMMAND_BYTES
    lines = _from_file(longest + b"\r\n" + longest + b"b\ntrue\n")
    assert [line.reason is None for line in lines] == [True, False, True]
    assert "131072 bytes" in str(lines[1].reason)


def test_a_huge_line_is_dropped_in_bounded_memory() -> None:
    lines = _from_file(b"true\n" + b"x" * 10_000_000 + b"\nfalse")
    assert [line.command for line in lines if line.reason is None] == [b"true", b"false"]
    assert "10000000 bytes" in str(lines[1].reason)
    assert len(lines[1].command) < 100


def test_a_huge_last_line_without_its_end() -> None:
    lines = _from_file(b"x" * 1_000_000)
    assert len(lines) == 1
    assert "1000000 bytes" in str(lines[0].reason)


def test_it_reads_no_further_than_it_has_to() -> None:
    fd = os.memfd_create("lines")
    os.write(fd, b"true\n" * 1_000_000)
    os.lseek(fd, 0, os.SEEK_SET)
    source = LineSource(fd)
    source.fill()
    assert source.take() == Line(1, b"true")
    while source.wants_input:
        source.fill()
    assert os.lseek(fd, 0, os.SEEK_CUR) <= 3 * 65536
    os.close(fd)


def _from_file(data: bytes) -> list[Line]:
    fd = os.memfd_create("lines")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    source = LineSource(fd)
    lines: list[Line] = []
    while not source.at_end:
        source.fill()
        while (line := source.take()) is not None:
            lines.append(line)
    os.close(fd)
    return lines
