"""A server of the old version goes on while the package is upgraded; a new one takes over."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path

import pytest

from .driver import with_driver
from .installation import BOUND_S, Place, wait_until

#: A job that says that it is up, and runs until the test lets it go.
GATE = "echo up >> up; until [ -e go ]; do sleep 0.05; done; echo gate >> ran"
FAILS_ONCE = "[ -e again ] && echo retried >> ran || { touch again; exit 1; }"


def server(place: Place) -> int | None:
    """The process of the server; None if there is none."""
    said, _ = place.start("sgs", "server", "status", "--json").communicate(timeout=BOUND_S)
    pid: int | None = json.loads(said)["pid"]
    return pid


def states(place: Place) -> dict[int, str]:
    """What has become of each job."""
    return {one["id"]: one["state"] for one in json.loads(place.sgs("status", "--json", "--all"))}


def start_gate(place: Place) -> int:
    """A job that runs, and waits at the gate."""
    job = place.submit("--", GATE)
    wait_until((place.folder / "up").exists, "the first job is up")
    return job


@pytest.mark.parametrize("busy", [True, False], ids=["busy", "idle"])
def test_an_old_server_goes_on_through_an_upgrade(place: Place, busy: bool) -> None:
    place.git_tree()
    place.sgs("server", "start", "--gpus", "0,1")
    gates = [start_gate(place)] if busy else []
    frozen = place.submit("--freeze", "--hold", "--", "sh code.sh")
    pid = server(place)
    place.installed.upgrade()

    (place.folder / "go").touch()
    place.sgs("release", str(frozen))
    retried = place.submit("--retries", "2", "--", FAILS_ONCE)
    both = place.submit("--gpus", "2", "--", "echo both >> ran")
    told = place.submit("--notify", 'echo told >> "$PLACE/ran"', "--", "true")
    new_frozen = place.submit("--freeze", "--", "sh code.sh")
    well = [*gates, frozen, retried, both, told, new_frozen]
    place.sgs("wait", *map(str, well))
    late = place.submit("--timeout", "0.2", "--", "exec sleep 1000")
    cancelled = place.submit("--hold", "--", "echo never >> ran")
    ended = place.submit("--", "echo up >> up2; exec sleep 1000")
    wait_until((place.folder / "up2").exists, "the job to cancel is up")
    place.sgs("cancel", str(ended), str(cancelled))
    place.sgs("wait", str(late), str(ended), str(cancelled), status=1)

    found = states(place)
    assert {found[job] for job in well} == {"succeeded"}
    assert (found[late], found[ended], found[cancelled]) == ("failed", "cancelled", "cancelled")
    wait_until(lambda: "told" in place.ran(), "the notification")
    assert place.ran() == sorted(
        [*(["gate"] if busy else []), *["frozen"] * 2, "retried", "both", "told"]
    )
    assert server(place) == pid, "the server of the old version still serves"
    place.sgs("server", "stop")
    assert "Traceback" not in place.server_log()
    assert "error" not in place.server_log()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_new_server_takes_over_what_an_old_one_has_begun(place: Place, how: str) -> None:
    place.git_tree()
    place.sgs("server", "start", "--gpus", "0,1")
    gate = start_gate(place)
    frozen = place.submit("--freeze", "--hold", "--", "sh code.sh")
    after = place.submit("--after", str(gate), "--", "echo after >> ran")
    before = server(place)
    assert before is not None
    place.installed.upgrade()
    if how == "stop":
        place.sgs("server", "stop")
    else:
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: server(place) is None, "the old server is gone")
    place.sgs("server", "start")
    assert server(place) not in (None, before)
    assert states(place)[gate] == "running"

    place.sgs("release", str(frozen))
    (place.folder / "go").touch()
    place.sgs("wait", str(gate), str(frozen), str(after))
    assert set(states(place).values()) == {"succeeded"}
    assert place.ran() == ["after", "frozen", "gate"]


def test_an_old_server_whose_file_is_moved_away_begins_anew_as_the_new_one(
    place: Place, tmp_path: Path
) -> None:
    with_driver(place, tmp_path)
    place.sgs("server", "start")
    place.installed.upgrade()
    (file,) = place.state.glob("queue/*/queue.sqlite3")
    for path in file.parent.glob("queue.sqlite3*"):
        path.rename(path.with_suffix(".away"))
    job = place.submit("--", "echo anew >> ran")
    place.sgs("wait", str(job))
    assert place.ran() == ["anew"]
    assert server(place) is not None, (
        "the same process with the new version, or one that submit started"
    )


def test_an_old_server_that_can_not_write_after_an_upgrade_says_why_and_goes_on(
    place: Place,
) -> None:
    place.sgs("server", "start", "--gpus", "0,1")
    gate = start_gate(place)
    pid = server(place)
    assert pid is not None
    place.installed.upgrade()
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (2000, limits[1]))  # enough for its log
    (place.folder / "go").touch()
    wait_until(lambda: "can't be written" in place.server_log(), "the server says so")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
    place.sgs("wait", str(gate))
    assert place.ran() == ["gate"]
    assert server(place) == pid
    assert "Traceback" not in place.server_log()
