"""Waiting for descriptors."""

from __future__ import annotations

import os
import time

from simple_gpu_scheduler.system.fds import drain, wait_readable


def test_a_descriptor_with_data_or_without_a_writer_is_ready() -> None:
    first, first_writer = os.pipe()
    second, second_writer = os.pipe()
    try:
        assert wait_readable([first, second], 0) == frozenset()
        os.write(first_writer, b"x")
        assert wait_readable([first, second]) == {first}
        os.set_blocking(first, False)
        assert drain(first)
        assert not drain(first)
        os.close(second_writer)
        assert wait_readable([first, second]) == {second}
    finally:
        for fd in (first, first_writer, second):
            os.close(fd)


def test_without_descriptors_it_is_a_sleep() -> None:
    start_s = time.monotonic()
    assert not wait_readable([], 0.05)
    assert time.monotonic() - start_s >= 0.05
