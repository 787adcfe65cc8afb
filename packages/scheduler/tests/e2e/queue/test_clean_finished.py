"""`sgs clean --finished`: jobs that have ended go, and nothing of them stays; all others stay."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from simple_gpu_scheduler.queue.records import Context, JobRequest
from simple_gpu_scheduler.queue.store.jobs import QueueStore
from submitting import SGS, User
from waiting import wait_until

SECRET = "hunter2-it's-\u00e9"  #: as somebody may search for it
STEPS = ["removing", "removed", "swept", "rewritten"]


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    """One whose folder is a work tree."""
    one = User(tmp_path)
    one.env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "TOKEN": "kept"}
    assert one.say("server", "start", "--gpus", "0,1").status == 0
    subprocess.run(["git", "init", "-q"], cwd=one.folder, env=one.env, check=True)
    (one.folder / "code").write_text("1")
    yield one
    one.leave()


def ended(user: User, *words: str, secret: str = SECRET) -> int:
    """A job with secrets wherever there can be some, which has ended."""
    user.env["TOKEN"] = secret
    (user.folder / "run.sh").write_text(f"#SGS --gpus 1\necho {secret!r} $TOKEN; {words[-1]}\n")
    (user.folder / "code").write_text(f"code {secret}")
    told = user.state / f"told-{secret}"
    job = user.submit(
        "--freeze", "--name", secret, "--group", secret, "--key", secret,
        "--notify", f"echo {secret!r}; touch {str(told)!r}", *words[:-1],
        "run.sh", "--", secret,
    )  # fmt: skip
    user.env["TOKEN"] = "kept"
    (user.folder / "code").write_text("code")
    (user.folder / "run.sh").unlink()
    user.say("wait", str(job))
    wait_until(
        lambda: (
            not queue(
                user,
                "SELECT 1 FROM jobs WHERE notify NOT NULL AND notified = 0"
                f" AND id = {job} AND ended_s NOT NULL",
            )
        ),
        "it is told",
    )
    wait_until(told.exists, "the command of --notify has run")
    told.unlink()
    return job


def queue(user: User, query: str) -> list[tuple[object, ...]]:
    (path,) = user.state.glob("queue/*/queue.sqlite3")
    with closing(sqlite3.connect(path, timeout=60)) as database:
        return database.execute(query).fetchall()


def has(user: User, secret: str) -> list[str]:
    """The files that hold it, to the byte, as it is or as JSON has it; also by their names."""
    forms = {secret.encode(), json.dumps(secret)[1:-1].encode()}
    return sorted(
        str(path.relative_to(user.state))
        for path in user.state.rglob("*")
        if any(form in os.fsencode(path.name) for form in forms)
        or (path.is_file() and any(form in path.read_bytes() for form in forms))
    )


def clean(user: User, *words: str, status: int = 0) -> dict[str, int]:
    said = user.say("clean", "--finished", "--json", *words)
    assert said.status == status, said
    found: dict[str, int] = json.loads(said.out)
    return found


def test_nothing_of_a_job_stays(user: User) -> None:
    waits = user.submit("--hold", "--", "echo", "$TOKEN")
    ended(user, "exit 3")
    ended(user, "true", secret="another")
    before = has(user, SECRET)
    assert any(path.endswith(".log") for path in before)
    assert any("scripts/" in path for path in before)
    assert any("frozen/" in path for path in before)
    assert any("queue.sqlite3" in path for path in before)
    found = clean(user, "--older-than", "0")
    assert found == {
        "jobs": 2, "logs": 2, "scripts": 2, "environments": 2, "copies": 2, "snapshots": 2,
    }  # fmt: skip
    assert has(user, SECRET) == has(user, "another") == []
    assert [entry.id for entry in user.entries()] == [waits]


def test_what_others_need_stays(user: User) -> None:
    (user.folder / "run.sh").write_text("#SGS --freeze\ncat code; echo $TOKEN\n")
    jobs = [user.submit("run.sh"), user.submit("--hold", "run.sh")]
    failed = user.submit("--freeze", "--", "cat code; echo $TOKEN; exit 3")
    (user.folder / "code").write_text("2")
    (user.folder / "run.sh").unlink()
    user.say("wait", str(jobs[0]), str(failed))
    assert clean(user, str(jobs[0])) == {
        "jobs": 1, "logs": 1, "scripts": 0, "environments": 0, "copies": 1, "snapshots": 0,
    }  # fmt: skip
    user.say("release", str(jobs[1]))
    user.say("retry", str(failed))
    user.say("wait", str(jobs[1]), str(failed))
    assert user.say("logs", str(jobs[1])).out == b"1kept\n"
    assert user.say("logs", str(failed)).out == b"1kept\n"


def test_a_number_that_was_removed_is_nobodys_any_more(user: User) -> None:
    for _ in range(3):
        user.run("--", "true")
    assert clean(user)["jobs"] == 3
    assert user.submit("--hold", "--", "true") == 4
    gone = "there is no job 3 any more (sgs clean --finished has removed it)"
    for command in ("logs", "explain", "retry", "cancel", "wait", "hold", "edit", "clean"):
        words = ["--priority", "1"] if command == "edit" else []
        said = user.say(command, "3", *words)
        assert said.status == 2, said
        assert gone in said.err.decode()
    for option in ("--after", "--after-any"):
        why = f"{option} names job 3, which sgs clean --finished has removed"
        assert why in user.refused(option, "3", "--", "true")
        assert why in user.say("edit", "4", option, "3").err.decode()
    assert "there is no job 9;" in user.say("logs", "9").err.decode()
    assert user.say("report").status == 0
    assert b"true" in user.say("status").out


def test_those_who_waited_for_a_removed_job_run(user: User) -> None:
    first = user.submit("--", "true")
    user.say("wait", str(first))
    after = user.submit("--after", str(first), "--hold", "--", "exit 3")
    clean(user, str(first))
    user.say("release", str(after))
    assert user.say("wait", str(after)).status == 3
    user.say("retry", str(after))
    assert user.say("wait", str(after)).status == 3
    assert queue(user, "SELECT * FROM needs") == []


def test_a_key_of_a_removed_job_is_free(user: User) -> None:
    assert user.run("--key", "k", "--", "echo 1") == b"1\n"
    assert user.submit("--key", "k", "--", "echo 1") == 1
    clean(user)
    assert user.submit("--key", "k", "--", "echo 1") == 2


def test_the_next_environment_is_not_taken_for_one_that_went(user: User) -> None:
    """The server that knows environments by number lives on."""
    for number in range(4):
        user.env["TOKEN"] = f"{number}"
        assert user.run("--", "echo $TOKEN") == b"%d\n" % number
        assert clean(user)["environments"] == 1
    assert clean(user, status=1)["environments"] == 0


def test_which_are_meant_is_said(user: User) -> None:
    user.run("--", "true")
    user.run("--group", "g", "--", "true")
    held = user.submit("--group", "g", "--hold", "--", "true")
    assert user.say("clean", "--finished", "--older-than", "1h").status == 1
    assert user.say("clean", "--finished", "--group", "g") == (
        0,
        b"removed: 1 job, 1 log, 0 scripts, 0 environments, 0 copies, 0 snapshots\n",
        b"sgs clean: left alone: 1 not ended\n",
    )
    assert [entry.id for entry in user.entries()] == [1, held]
    assert b"no job of the group" in user.say("clean", "--finished", "--group", "h").err
    assert user.say("clean", "--finished", "--older-than", "x").status == 2
    assert clean(user, "--all")["jobs"] == 1
    said = user.say("clean", "--finished")
    assert said.status == 1
    assert said.out == (
        b"removed: 0 jobs, 0 logs, 0 scripts, 0 environments, 0 copies, 0 snapshots\n"
    )


def test_who_is_yet_to_be_told_is_told_first(user: User) -> None:
    user.say("server", "stop")
    job = user.submit("--hold", "--notify", "touch told", "--", "true")
    user.say("server", "stop")
    (path,) = user.state.glob("queue/*/queue.sqlite3")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE jobs SET state = 'failed', ended_s = 0")
    said = user.say("clean", "--finished")
    assert said.err == b"sgs clean: left alone: 1 whose --notify command is yet to run\n"
    assert said.status == 1
    user.say("server", "start")
    wait_until((user.folder / "told").exists, "the submitter is told")
    wait_until(lambda: queue(user, "SELECT notified FROM jobs") == [(1,)], "that is written down")
    assert clean(user, str(job))["jobs"] == 1


def test_logs_of_a_queue_that_was_moved_away_stay(user: User) -> None:
    """Numbers that this queue has never given are not those of removed jobs."""
    user.run("--", "true")
    (logs,) = user.state.glob("queue/*/logs")
    (logs / "7.1.log").write_text("of another queue")
    assert clean(user)["logs"] == 1
    assert os.listdir(logs) == ["7.1.log"]


@pytest.mark.parametrize("step", STEPS)
def test_whoever_is_killed_over_it_loses_nothing_that_is_needed(user: User, step: str) -> None:
    ended(user, "exit 3")
    runs = user.submit("--freeze", "--", "until [ -e go ]; do sleep 0.05; done; cat code")
    waits = user.submit("--freeze", "--hold", "--", "cat code; echo $TOKEN")
    wait_until(lambda: len(list(user.state.glob(f"queue/*/frozen/{runs}/code"))) == 1, "it runs")
    died = user.state / "died"
    done = subprocess.run(
        [SGS, "clean", "--finished"], cwd=user.folder, capture_output=True, check=False,
        env={**user.env, "SGS_DIE_AT": f"{step}:{died}"},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    died.unlink()
    assert queue(user, "PRAGMA integrity_check") == [("ok",)]
    assert [entry.id for entry in user.entries()] == (
        [1, runs, waits] if step == "removing" else [runs, waits]
    )
    said = user.say("clean", *(["1", "--finished"] if step == "removing" else ["--all"]))
    assert said.status == (0 if step == "removing" else 1), said
    assert has(user, SECRET) == []
    (copy,) = user.state.glob(f"queue/*/frozen/{runs}")
    (copy / "go").touch()
    user.say("release", str(waits))
    assert user.say("wait", str(runs), str(waits)).status == 0
    assert user.say("logs", str(runs)).out == b"code"
    assert user.say("logs", str(waits)).out == b"codekept\n"


def test_killed_at_any_moment_while_others_submit(user: User) -> None:
    """Scripts, snapshots and environments of what is submitted meanwhile are all there."""
    (user.folder / "run.sh").write_text(
        '#SGS --freeze\n(cat code; echo $TOKEN) > "$1.new"; mv "$1.new" "$1"\n'
    )
    over = threading.Event()

    def clean_and_kill() -> None:
        turn = 0
        while not over.is_set():
            turn += 1
            with subprocess.Popen(
                [SGS, "clean", "--finished"], env=user.env, cwd=user.state,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            ) as process:  # fmt: skip
                try:
                    process.wait(0.05 * (turn % 12))
                except subprocess.TimeoutExpired:
                    process.kill()

    cleaner = threading.Thread(target=clean_and_kill)
    cleaner.start()
    try:
        for number in range(12):
            user.env["TOKEN"] = f"{SECRET}-t{number}"
            (user.folder / "code").write_text(f"c{number}")
            out = user.folder / f"out{number}"
            user.submit("--group", "g", "run.sh", "--", out)
            wait_until(out.exists, "the job has run")
            assert out.read_text() == f"c{number}{SECRET}-t{number}\n"
    finally:
        over.set()
        cleaner.join()
    assert queue(user, "PRAGMA integrity_check") == [("ok",)]
    user.say("wait", "--group", "g")
    user.say("clean", "--finished")
    assert has(user, SECRET) == []
    assert user.entries() == []


def test_who_waits_for_a_job_that_goes_is_told(user: User) -> None:
    job = user.submit("--hold", "--", "true")
    waiting = subprocess.Popen(
        [SGS, "wait", str(job)], env=user.env, cwd=user.folder, stderr=subprocess.PIPE
    )
    following = subprocess.Popen(
        [SGS, "logs", "-f", str(job)], env=user.env, cwd=user.folder, stderr=subprocess.PIPE
    )
    for one in (waiting, following):
        wait_until(lambda one=one: _looks(one.pid), "it waits")
    (path,) = user.state.glob("queue/*/queue.sqlite3")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM jobs")  # at once: nobody sees its end
    assert _ended(waiting) == (
        1,
        b"sgs: error: the exit status of job 1 is unknown: sgs clean --finished has removed it\n",
    )
    assert _ended(following) == (0, b"")


def _looks(pid: int) -> bool:
    """Whether it has looked, and sleeps until something changes."""
    links = Path(f"/proc/{pid}/fd")
    try:
        watches = any(os.readlink(one) == "anon_inode:inotify" for one in links.iterdir())
        return watches and "poll" in Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return False


def _ended(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def test_a_file_that_others_read_is_written_anew_and_they_see_a_whole_one(tmp_path: Path) -> None:
    """Old places of rows are found by nobody but who looks at the bytes: none of them stays."""
    from simple_gpu_scheduler.queue.store import cleaning

    path = tmp_path / "queue.sqlite3"
    store, others = QueueStore(str(path), lazy=True), QueueStore(str(path))
    for one in (store, others):
        one.file.all("PRAGMA secure_delete = OFF")  # as SQLite does where nothing else was chosen
    environ = tuple((f"V{n}".encode(), f"{SECRET}{n}".encode() * 50) for n in range(50))
    requests = [JobRequest(f"{SECRET} {'x' * n}".encode()) for n in range(300)]
    store.submit(Context(b"/", environ, 0o022), requests, 1.0)
    others.cancel(range(1, 301), 2.0)
    others.file.all("UPDATE jobs SET reason = 'longer than before'")
    others.file.all("DELETE FROM jobs WHERE id > 250")
    reader = sqlite3.connect(path, isolation_level=None)
    with closing(reader):
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM jobs").fetchone() == (250,)
        thread = threading.Thread(target=_clean, args=(path,))
        thread.start()
        wait_until(lambda: not others.entries(), "the rows are gone")
        assert reader.execute("SELECT count(*) FROM jobs").fetchone() == (250,)
        reader.execute("COMMIT")
        thread.join()
    assert not cleaning.is_unfinished(others.file)
    for one in tmp_path.iterdir():
        assert SECRET.encode() not in one.read_bytes()
        assert json.dumps(SECRET)[1:-1].encode() not in one.read_bytes()
    assert store.submit(Context(b"/", (), 0o022), [JobRequest(b"x")], 1.0)[0].id == 301
    store.close()
    others.close()


def _clean(path: Path) -> None:
    from simple_gpu_scheduler.queue.store import cleaning

    store = QueueStore(str(path))
    cleaning.remove_jobs(store.file, None, 3.0)
    cleaning.remove_environments(store.file)
    cleaning.scrub(store.file)
    store.close()
