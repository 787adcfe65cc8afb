"""Whoever is killed, and however often: nothing is lost, twice or wrong.

SGS_FAULT_ROUNDS=300 for longer; or see fault_rounds.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fault_rounds import Rounds


@pytest.fixture
def rounds(tmp_path: Path, witness: Path) -> Iterator[Rounds]:
    one = Rounds(tmp_path, witness, seed=7)
    yield one
    one.queue.close()


@pytest.mark.timeout(1800)
def test_whoever_is_killed_nothing_is_lost_twice_or_wrong(rounds: Rounds) -> None:
    count = int(os.environ.get("SGS_FAULT_ROUNDS", "15"))
    verdict = rounds.run(count)
    assert (rounds.broken, verdict.complaints()) == ([], {})
    assert sum(rounds.kills.values()) > count // 2
    assert len(verdict.unknown) <= 4 * sum(rounds.kills.values())
