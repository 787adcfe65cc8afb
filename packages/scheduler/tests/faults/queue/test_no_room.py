"""No room, by one's own jobs: looking, cancelling and giving GPUs back go on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from simple_gpu_scheduler.leases.store import live_leases
from small_disk import Disk, needs_mount
from waiting import wait_until

pytestmark = needs_mount
SGS = str(Path(sys.executable).parent / "sgs")


def sgs(on: Disk, *words: str) -> subprocess.CompletedProcess[str]:
    """Run one of the commands to its end."""
    return subprocess.run(
        [SGS, *words], env=on.env, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("serves", [True, False], ids=["", "the server was killed"])
def test_a_full_disk_keeps_nobody_from_looking_and_cancelling(
    disk: Disk,
    serves: bool,
) -> None:
    server = disk.start()
    first, second = disk.submit(b"echo begun; sleep 600", b"sleep 600")
    wait_until(lambda: len([1 for one, _ in disk.store.running() if one.pid]) == 2, "they run")
    wait_until(lambda: disk.log(first) == b"begun\n", "it has printed")
    if not serves:
        server.kill()
        server.wait()
    disk.fill()
    status = sgs(disk, "status", "--json")
    assert status.returncode == 0, status.stderr
    assert {one["state"] for one in json.loads(status.stdout)} >= {"running"}
    assert sgs(disk, "logs", str(first)).stdout == "begun\n"
    assert sgs(disk).returncode == 0
    leases = disk.env["SGS_LEASE_DIR"]
    before = len(live_leases(leases))
    done = sgs(disk, "cancel", str(first))
    assert "Traceback" not in done.stderr
    if serves:
        assert done.returncode == 0, done.stderr
        wait_until(lambda: len(live_leases(leases)) < before, "its GPU is free")
    refused = sgs(disk, "submit", "--", "x" * 100_000)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "the disk is full" in refused.stderr
    disk.free()
    sgs(disk, "cancel", str(first), str(second))
    (ended,) = disk.wait(first)
    assert ended.state == "cancelled"
