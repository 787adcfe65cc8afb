"""Files that the user names: --joblog, --json and --figure, where others can write as well."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from users import needs_root
from waiting import wait_until

from .conftest import ALICE, BOB, LAB, People

pytestmark = needs_root

HEADER = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
OPTIONS = {
    "joblog": ("--joblog",),
    "resumed": ("--resume", "--joblog"),
    "json": ("--json",),
}

_WAIT = """
print(flush=True)
time.sleep(600)
"""
_SAVE = """
import sys
from simple_gpu_scheduler.cli import figure
from simple_gpu_scheduler.errors import SgsError
drawn, axes = figure.pyplot().subplots()
try:
    figure.save(drawn, sys.argv[1])
except SgsError as error:
    sys.exit(str(error))
"""


@pytest.fixture(params=["sticky", "group"])
def folder(request: pytest.FixtureRequest, people: People) -> Path:
    """One that Alice and Bob can write."""
    shared = people.path / "it's shared"
    shared.mkdir()
    if request.param == "group":
        people.group = LAB
        os.chown(shared, 0, LAB)
    shared.chmod(0o2775 if request.param == "group" else 0o1777)
    return shared


def give(path: Path, text: str, uid: int = ALICE, mode: int = 0o644) -> Path:
    """A file of that user."""
    path.write_text(text)
    os.chown(path, uid, uid)
    path.chmod(mode)
    return path


def run(
    people: People, *options: str, lines: str = "echo a\n"
) -> subprocess.CompletedProcess[str]:
    """Alice runs a job."""
    return people.run(ALICE, "simple_gpu_scheduler", "--gpus", "0", *options, lines=lines)


def plant(people: People, program: str, *words: object) -> None:
    """Bob does this, in the folder that the first word names."""
    people.attack(BOB, f"os.chdir(sys.argv[1])\nos.umask(0)\n{program}{_WAIT}", *map(str, words))


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_link_that_another_user_made_is_not_followed(
    people: People, kernel: str, folder: Path, kind: str
) -> None:
    text = HEADER if kind != "json" else "mine\n"
    victim = give(people.home(ALICE) / "victim", text + "1\t:")
    plant(people, "os.symlink(sys.argv[2], 'out')", folder, victim)
    done = run(people, *OPTIONS[kind], str(folder / "out"))
    assert done.returncode == 2
    assert f"{folder}/out is a link that {BOB} made; expected a file of" in done.stderr
    assert victim.read_text() == text + "1\t:"
    assert os.listdir(folder) == ["out"]


@pytest.mark.parametrize("kind", [*OPTIONS, "results"])
@pytest.mark.parametrize("mode", [0o755, 0o1777], ids=oct)
def test_a_link_of_another_user_on_the_way_is_not_followed(
    people: People, kernel: str, kind: str, mode: int
) -> None:
    """Also where he alone can write: it leads to what Alice can write, and he can't."""
    folder, thesis = people.path / "bob's", people.home(ALICE) / "thesis"
    for path, uid in ((folder, BOB), (thesis, ALICE)):
        path.mkdir()
        os.chown(path, uid, uid)
    folder.chmod(mode)
    text = HEADER if kind != "json" else "mine\n"
    victim = give(thesis / "out", text + "1\t:")
    plant(people, "os.symlink(sys.argv[2], 'link')", folder, thesis)
    named = f"{folder}/link" if kind == "results" else f"{folder}/link/../thesis/out"
    done = run(people, *OPTIONS.get(kind, ("--results",)), named)
    assert done.returncode == 2
    assert f"{folder}/link is a link that {BOB} made; expected a folder, or a link" in done.stderr
    assert "name the folder that it leads to" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (os.listdir(thesis), victim.read_text()) == (["out"], text + "1\t:")
    mine = folder / "mine"  # root put it there, which is as good as Alice
    mine.symlink_to(thesis)
    named = str(mine) if kind == "results" else f"{mine}/new"
    assert run(people, *OPTIONS.get(kind, ("--results",)), named).returncode == 0


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_second_name_that_another_user_made_is_not_written(
    people: People, folder: Path, kind: str
) -> None:
    """Where the kernel lets him, as with fs.protected_hardlinks=0; root makes it for him here."""
    text = HEADER if kind != "json" else "mine\n"
    victim = give(people.home(ALICE) / "victim", text + "1\t:")
    os.link(victim, folder / "out")
    done = run(people, *OPTIONS[kind], str(folder / "out"))
    assert done.returncode == 2
    assert f"{folder}/out has a second name (a hard link)" in done.stderr
    assert victim.read_text() == text + "1\t:"
    alone = people.home(ALICE) / "alone"
    os.link(victim, alone)
    assert ("hard link" in run(people, *OPTIONS[kind], str(alone)).stderr) is False


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_second_name_of_ones_own_fifo_is_not_waited_at(
    people: People, folder: Path, kind: str
) -> None:
    """Where the kernel lets another user give it one; root makes it for him here."""
    fifo = people.home(ALICE) / "fifo"
    os.mkfifo(fifo)
    os.chown(fifo, ALICE, ALICE)
    os.link(fifo, folder / "out")
    done = run(people, *OPTIONS[kind], str(folder / "out"))
    assert done.returncode == 2
    assert f"{folder}/out has a second name (a hard link)" in done.stderr


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_file_of_another_user_is_refused_by_name(
    people: People, kernel: str, folder: Path, kind: str
) -> None:
    text = HEADER + "1\t:"
    plant(people, "open('out', 'w').write(sys.argv[2])", folder, text)
    for more in ((), ("--dry-run",)) if kind == "resumed" else ((),):
        done = run(people, *OPTIONS[kind], str(folder / "out"), *more)
        assert done.returncode == 2
        assert f"{folder}/out belongs to {BOB}; expected a file of" in done.stderr
        assert "name another file" in done.stderr
    assert (folder / "out").read_text() == text
    assert os.listdir(folder) == ["out"]


@pytest.mark.parametrize("kind", OPTIONS)
def test_nobody_waits_at_a_fifo_of_another_user(
    people: People, kernel: str, folder: Path, kind: str
) -> None:
    plant(people, "os.mkfifo('out')", folder)
    done = run(people, *OPTIONS[kind], str(folder / "out"))
    assert done.returncode == 2
    assert f"{folder}/out is a FIFO that {BOB} made" in done.stderr


def test_what_is_set_aside_replaces_no_file_of_another_user(people: People, folder: Path) -> None:
    log = folder / "log"
    assert run(people, "--joblog", str(log)).returncode == 0
    plant(people, "open('log~', 'w').write('his')", folder)
    before = log.read_text()
    done = run(people, "--joblog", str(log))
    assert done.returncode == 2
    assert f"{log}~ belongs to {BOB}" in done.stderr
    assert ((folder / "log~").read_text(), log.read_text()) == ("his", before)
    assert run(people, "--joblog", str(log), "--resume").returncode == 0


def test_the_lock_of_another_user_stops_no_list(people: People, folder: Path) -> None:
    log = folder / "log"
    assert run(people, "--joblog", str(log)).returncode == 0
    plant(people, _FLOCK, folder)
    lines = "echo a\necho b\n"
    done = run(people, "--joblog", str(log), "--resume", lines=lines)
    assert done.returncode == 0
    assert f"warning: {str(log)!r} is locked by {BOB}, who does not own it" in done.stderr
    assert done.stdout.endswith("\nb\n")
    assert log.read_text().splitlines()[-1].endswith("\techo b")


_FLOCK = "fd = os.open('log', os.O_RDONLY)\nfcntl.flock(fd, fcntl.LOCK_EX)\n"
_READ_LOCK = """
fd = os.open('log', os.O_RDONLY)
fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_RDLCK, 0, 0, 0, 0))
"""
#: Who took the lock is gone; who has it now isn't told.
_GONE = f"""
if os.fork():
    os.wait()
    time.sleep(600)
{_FLOCK}
if os.fork():
    os._exit(0)
"""


@pytest.mark.parametrize(
    ("program", "who"),
    [
        (_GONE, "somebody else"),
        (_READ_LOCK, "somebody else"),
        (_FLOCK + _READ_LOCK, BOB),
    ],
    ids=["gone", "reads", "both"],
)
def test_whatever_lock_another_user_has_only_ones_own_lists_are_kept_apart(
    people: People, folder: Path, program: str, who: object
) -> None:
    log = folder / "log"
    assert run(people, "--joblog", str(log)).returncode == 0
    plant(people, program, folder)
    first = people.start(
        ALICE, "simple_gpu_scheduler", "--gpus", "0", "--joblog", str(log), "--resume"
    )
    assert first.stdin is not None
    first.stdin.write("echo a\necho b\n")
    first.stdin.flush()
    wait_until(lambda: log.read_text().endswith("\techo b\n"), "the list runs")
    if who != BOB:  # who has locked the log in both ways leaves us none
        done = run(people, "--joblog", str(log))
        assert (done.returncode, "is in use by another scheduler" in done.stderr) == (2, True)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 0
    assert f"warning: {str(log)!r} is locked by {who}, who does not own it; writing" in said


def test_a_list_of_ones_own_is_still_kept_apart(people: People, folder: Path) -> None:
    log = folder / "log"
    first = people.start(ALICE, "simple_gpu_scheduler", "--gpus", "0", "--joblog", str(log))
    wait_until(lambda: log.exists() and log.read_text() == HEADER, "the log is begun")
    done = run(people, "--joblog", str(log))
    assert (done.returncode, "is in use by another scheduler" in done.stderr) == (2, True)
    assert first.communicate(timeout=60)[1] == ""


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_ones_own_outputs_are_written_wherever_they_go(people: People, name: str) -> None:
    """Also where another user has opened the file for us."""
    options = ("--gpus", "0", "--quiet", "--joblog", f"/dev/{name}")
    command = shlex.join(["simple_gpu_scheduler", *options])
    done = people.run(ALICE, "sh", "-c", f"(echo true | {command}) 2>&1 | cat")
    assert (done.stdout[: len(HEADER)], done.stdout[-6:]) == (HEADER, "\ttrue\n")
    given = give(people.path / "file", "", BOB, 0o666)
    with os.fdopen(os.open(given, os.O_WRONLY | os.O_APPEND), "a") as file:
        people.run(ALICE, "simple_gpu_scheduler", *options, lines="true\n", **{name: file})
    assert given.read_text().endswith("\ttrue\n")


def test_descriptors_fifos_and_terminals_of_ones_own(people: People, folder: Path) -> None:
    own = folder / "fifo"
    os.mkfifo(own)
    os.chown(own, ALICE, ALICE)
    script = (
        f"cat {shlex.quote(str(own))} > read & echo true | simple_gpu_scheduler --gpus 0 --quiet"
        f" --json {shlex.quote(str(own))} --joblog /dev/fd/7 7> log; wait; cat log read"
    )
    done = people.run(ALICE, "sh", "-c", script)
    assert done.stdout.startswith(HEADER)
    assert '"event": "finished"' in done.stdout
    ours, theirs = pty.openpty()
    os.fchown(theirs, BOB, BOB)  # as after `su alice`
    os.fchmod(theirs, 0o622)
    try:
        done = run(people, "--json", os.ttyname(theirs))
        assert done.returncode == 0, done.stderr
        assert b'"event": "started"' in os.read(ours, 1 << 16)
    finally:
        os.close(ours)
        os.close(theirs)


def test_links_of_ones_own_and_of_root_are_followed(people: People, folder: Path) -> None:
    target = people.home(ALICE) / "target"
    target.mkdir()
    os.chown(target, ALICE, ALICE)
    for uid, name in ((ALICE, "by alice"), (0, "by root")):
        for what in (folder / name, folder / f"{name}.json"):
            what.symlink_to(target / what.name)
            os.chown(what, uid, uid, follow_symlinks=False)
        log = folder / name
        for number in (1, 2):
            options = ("--joblog", str(log), "--json", f"{log}.json")
            done = run(people, *options, lines=f"echo {number}\n")
            assert done.returncode == 0, done.stderr
        assert log.is_symlink()
        assert (target / name).read_text().endswith("\techo 2\n")
        assert (target / f"{name}~").read_text().endswith("\techo 1\n")
        assert (target / f"{name}.json").read_text().count('"finished"') == 2


def test_what_is_made_is_as_the_umask_says(people: People, folder: Path) -> None:
    log, events = folder / "log", folder / "events"
    options = ("--joblog", str(log), "--json", str(events), "--gpus", "0")
    people.run(ALICE, "simple_gpu_scheduler", *options, lines="true\n", umask=0o002)
    assert [path.stat().st_mode & 0o777 for path in (log, events)] == [0o664] * 2
    assert run(people, *options, "--resume").returncode == 0, "they are Alice's all the same"


def test_a_figure_is_not_drawn_into_files_of_others(
    people: People, kernel: str, folder: Path
) -> None:
    pytest.importorskip("matplotlib")
    victim = give(people.home(ALICE) / "victim", "mine")
    plant(people, "os.symlink(sys.argv[2], 'use.png')", folder, victim)
    plant(people, "os.symlink(sys.argv[2], 'way')", folder, victim.parent)
    env = people.environ(ALICE, MPLCONFIGDIR=str(people.home(ALICE)))
    done = people.run(ALICE, sys.executable, "-c", _SAVE, str(folder / "use.png"), env=env)
    assert f"use.png is a link that {BOB} made" in done.stderr
    way = folder / "way/victim.png"
    done = people.run(ALICE, sys.executable, "-c", _SAVE, str(way), env=env)
    assert f"/way is a link that {BOB} made" in done.stderr
    assert not (victim.parent / "victim.png").exists()
    assert victim.read_text() == "mine"
    for name, begins in (("own.png", b"\x89PNG"), ("own.svg", b"<?xml")):
        give(folder / name, "x" * 1_000_000)
        done = people.run(ALICE, sys.executable, "-c", _SAVE, str(folder / name), env=env)
        assert done.returncode == 0, done.stderr
        drawn = (folder / name).read_bytes()
        assert (drawn[: len(begins)], drawn.endswith(b"xxx")) == (begins, False)
