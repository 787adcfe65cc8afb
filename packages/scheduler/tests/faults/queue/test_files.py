"""The queue's file as it shouldn't be: damaged, of other versions, changed by several at once."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from queues import Queue, Shell
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.queue.records import Context, JobRequest
from simple_gpu_scheduler.queue.store.jobs import QueueStore

FIXTURES = sorted(Path(__file__).with_name("fixtures").glob("version-*.sql"))
ODD = 'it\'s "é" $HOME\n\\ \udcff;'.encode(errors="surrogateescape")
LATEST = "PRAGMA user_version"


def made(fixture: Path, path: Path) -> None:
    """The file that this dump was made of."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(fixture.read_text())


def test_there_is_a_file_of_each_earlier_version(tmp_path: Path) -> None:
    """A migration more needs one more: the dump of a file of the version before."""
    QueueStore(str(tmp_path / "new")).close()
    with closing(sqlite3.connect(tmp_path / "new")) as database:
        (version,) = database.execute(LATEST).fetchone()
    assert {one.stem for one in FIXTURES} >= {f"version-{n}" for n in range(1, version)}


def check(store: QueueStore) -> None:
    """All is there that the fixtures have; see their rows."""
    entries = store.entries()
    assert [one.state for one in entries] == [
        "succeeded", "failed", "lost", "cancelled", "running", "queued", "held", "queued", "queued"
    ]  # fmt: skip
    first, second, third, _, _, waits, odd, later, needs = entries
    assert (first.name, first.group, first.key, first.exit_code) == ("né", "g g", "k", 0)
    assert (second.attempt, second.signal, second.reason, second.gpus) == (2, 9, "why", 2)
    assert (third.memory_mib, third.auto_memory, third.priority) == (512, True, -3)
    assert (odd.command, later.not_before_s, needs.timeout_s) == (ODD, 32503680000.0, 60.5)
    assert store.context(first.context) == Context(
        b"/tmp", ((b"ODD", ODD), (b"PATH", b"/usr/bin:/bin")), 0o22
    )
    assert [one.id for one in store.ready(1.0, 9)] == [waits.id]
    ((attempt, stop),) = store.running()
    assert (attempt.job, attempt.launcher, attempt.boot, stop) == (5, "17-abc", "a boot", None)
    assert store.setting("gpus") == "0,1"
    assert not store.to_notify()
    assert [one.id for one in store.submit(Context(b"/", (), 0), [JobRequest(b"x")], 1.0)] == [10]


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda one: one.stem)
def test_a_file_of_an_earlier_version_is_brought_up_to_date(fixture: Path, tmp_path: Path) -> None:
    made(fixture, tmp_path / "q")
    for _ in range(2):
        store = QueueStore(str(tmp_path / "q"))
        if len(store.entries()) == 9:
            check(store)
        store.close()
    QueueStore(str(tmp_path / "new")).close()
    with closing(sqlite3.connect(tmp_path / "q")) as old:
        found = columns(old)
    with closing(sqlite3.connect(tmp_path / "new")) as new:
        assert found == columns(new)


def columns(database: sqlite3.Connection) -> list[tuple[object, ...]]:
    """All tables with their columns, and all indices."""
    return database.execute(
        "SELECT m.name, i.name, i.type, i.dflt_value, i.pk FROM sqlite_master m "
        "LEFT JOIN pragma_table_info(m.name) i ORDER BY 1, 2"
    ).fetchall()


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda one: one.stem)
def test_a_server_goes_on_with_a_queue_of_an_earlier_version(fixture: Path, queue: Queue) -> None:
    queue.store.close()
    for one in queue.folder.glob("queue.sqlite3*"):
        one.unlink()
    made(fixture, queue.database)
    queue.store = QueueStore(str(queue.database))
    queue.start()
    runs, waits, needs = queue.wait(5, 6, 9)
    assert (runs.state, runs.reason) == ("lost", "the machine was restarted while it ran")
    assert (waits.exit_code, needs.state) == (5, "succeeded")
    assert queue.log(9) == b"needs\n"


PROGRAM = """
import sys
from simple_gpu_scheduler.queue.store.jobs import QueueStore
from simple_gpu_scheduler.queue.records import Context, JobRequest
store = QueueStore(sys.argv[1])
store.submit(Context(b"/", (), 0), [JobRequest(b"x")], 1.0)
"""


def opened(path: Path, **env: str) -> subprocess.Popen[bytes]:
    """Another process that opens the file, and adds a job."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, path], env={**os.environ, **env}, stderr=subprocess.PIPE
    )


def test_several_bring_it_up_to_date_at_once(tmp_path: Path) -> None:
    made(FIXTURES[0], tmp_path / "q")
    programs = [opened(tmp_path / "q") for _ in range(6)]
    assert [one.communicate(timeout=60)[1] for one in programs] == [b""] * 6
    store = QueueStore(str(tmp_path / "q"))
    assert len(store.entries()) == 9 + 6
    store.close()


@pytest.mark.parametrize("fixture", [None, *FIXTURES[:-1]], ids=lambda one: one and one.stem)
def test_who_dies_meanwhile_has_changed_nothing(fixture: Path | None, tmp_path: Path) -> None:
    if fixture is not None:
        made(fixture, tmp_path / "q")
    dying = opened(tmp_path / "q", SGS_DIE_AT=f"migrating:{tmp_path}/died")
    dying.communicate(timeout=60)
    assert dying.returncode == -signal.SIGKILL
    store = QueueStore(str(tmp_path / "q"))
    check(store) if fixture is not None else None
    store.close()


DAMAGED = "the queue's file {path} is damaged ("
OPENED = "the queue's file {path} can't be used: unable to open database file"


@pytest.mark.parametrize("size", [50, 4096, 9000])
def test_a_file_that_was_cut_is_said_to_be_damaged(tmp_path: Path, size: int) -> None:
    path = tmp_path / "q"
    made(FIXTURES[-1], path)
    assert path.stat().st_size > size
    os.truncate(path, size)
    before = path.read_bytes()
    with pytest.raises(SgsError) as caught, closing(QueueStore(str(path))) as store:
        store.entries()
    assert str(caught.value).startswith(DAMAGED.format(path=path))
    assert path.read_bytes() == before


def test_what_is_no_queue_is_left_alone(shell: Shell) -> None:
    """Each command says so, and what to do; once it is moved away all is as new."""
    shell.sgs("server", "stop")
    ((folder,),) = [list((shell.path.parent / "state" / "queue").iterdir())]
    path = folder / "queue.sqlite3"
    for one in folder.glob("queue.sqlite3*"):
        one.unlink(missing_ok=True)  # the server may still be closing it
    path.write_bytes(b"my thesis, part one\n" * 1000)
    commands = (["submit", "--", "true"], ["status"], ["cancel", "1"], ["server", "start"])
    for words in commands:
        text = shell.sgs(*words, status=1)
        assert text.startswith("sgs: error: " + DAMAGED.format(path=path))
        assert "move it away" in text
    assert path.read_bytes() == b"my thesis, part one\n" * 1000
    path.rename(folder / "thesis")
    path.mkdir()
    for words in commands:
        assert OPENED.format(path=path) in shell.sgs(*words, status=1)
    path.rmdir()
    path.touch()
    shell.sgs("server", "start", "--gpus", "0")
    assert shell.sgs("submit", "--", "exit 3") == "1\n"
    shell.sgs("wait", "1", status=3)


def test_a_server_whose_file_was_moved_away_goes_on_with_the_new_one(shell: Shell) -> None:
    """Else what is submitted would never run."""
    assert shell.sgs("submit", "--", "true") == "1\n"
    shell.sgs("wait", "1")
    ((folder,),) = [list((shell.path.parent / "state" / "queue").iterdir())]
    (folder / "old").mkdir()
    for one in folder.glob("queue.sqlite3*"):
        one.rename(folder / "old" / one.name)
    shell.sgs("server", "start", "--gpus", "0")
    assert shell.sgs("submit", "--", "exit 3") == "1\n"
    shell.sgs("wait", "1", status=3)


def test_a_server_that_is_to_end_ends_wherever_its_file_is(queue: Queue) -> None:
    server = queue.start()
    queue.wait(*queue.submit(b"true"))
    queue.database.rename(queue.path / "old")
    server.terminate()
    assert server.wait(60) == 0
