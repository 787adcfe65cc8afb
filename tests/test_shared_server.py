"""The session in docs/leases.md is what its script prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def timeless(text: str) -> str:
    """Without what differs each time: pids, times, and which GPU was first to be free."""
    text = re.sub(r"\b(pid|process) \d+", r"\1 N", text)
    text = re.sub(r"since \d\d:\d\d", "since HH:MM", text)
    before, one_ends, after = text.partition("# one of anna's jobs ends")
    return before + one_ends + re.sub(r"\b(gpu|GPU) [02-7]\b", r"\1 G", after)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="programs of three users need root")
def test_the_session_of_a_shared_server() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples/shared_server.py"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    page = (ROOT / "docs/leases.md").read_text()
    (session,) = re.findall(r"^```text\n(carol\$.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert timeless(done.stdout) == timeless(session)
