"""`sgs submit --freeze` and `sgs clean`: jobs run as the code was, by the installed commands."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from submitting import SGS, User


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    """One with a work tree."""
    one = User(tmp_path)
    (tmp_path / "gitconfig").write_text("[user]\nname = a\nemail = a@b\n")
    one.env |= {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"), "GIT_CONFIG_NOSYSTEM": "1"}
    assert one.say("server", "start", "--gpus", "0,1").status == 0
    git(one, "init", "-q")
    (one.folder / "code.sh").write_bytes(b"echo 1\n")
    (one.folder / "sub").mkdir()
    (one.folder / "sub" / "x").touch()
    git(one, "add", "-A")
    git(one, "commit", "-q", "-m", "x")
    (one.folder / "code.sh").write_bytes(b"echo 2\n")
    yield one
    one.leave()


def git(user: User, *words: str) -> None:
    subprocess.run(["git", *words], cwd=user.folder, env=user.env, check=True)


def finished(user: User, job: int, status: int = 0) -> bytes:
    """What it printed, once it has ended."""
    said = user.say("wait", str(job))
    log = user.say("logs", str(job)).out
    assert said.status == status, said.err + log
    return log


def copies(user: User) -> list[str]:
    return sorted(path.name for path in user.state.glob("queue/*/frozen/*"))


def test_a_job_runs_as_the_code_was(user: User) -> None:
    job = user.submit("--freeze", "--hold", "--", "sh code.sh; echo it  is '$HOME'")
    (user.folder / "code.sh").write_bytes(b"echo 3\n")
    git(user, "commit", "-q", "-a", "-m", "3")
    (user.folder / "code.sh").unlink()
    user.say("release", str(job))
    assert finished(user, job) == b"2\nit is $HOME\n"


def test_one_is_shown_ones_own_command_and_the_snapshot(user: User) -> None:
    user.submit("--freeze", "--hold", "--", "sh", "code.sh")
    assert b"  sh code.sh\n" in user.say("status").out
    (job,) = json.loads(user.say("status", "--json").out)
    assert job["command"] == "sh code.sh"
    assert len(job["snapshot"]) == 40
    user.submit("--hold", "--", "true")
    assert json.loads(user.say("status", "--json").out)[1]["snapshot"] is None


def test_it_runs_in_the_same_folder_within_its_own_copy(user: User) -> None:
    folder = user.folder / "sub" / "deep\n"
    folder.mkdir()
    job = user.submit(
        "--freeze", "--", 'pwd; echo "$SGS_FROZEN"; sh ../../code.sh > result; env', cwd=folder
    )
    log = finished(user, job)
    (copy,) = user.state.glob("queue/*/frozen/1")
    cwd = copy / "sub" / "deep\n"
    assert log.startswith(os.fsencode(f"{cwd}\n{cwd}\n"))
    assert b"SGS_FREEZE" not in log
    assert (cwd / "result").read_bytes() == b"2\n"
    assert not (folder / "result").exists()


def test_what_a_hook_knows_of_its_repository_is_not_the_jobs(user: User) -> None:
    user.env |= {"GIT_DIR": str(user.folder / ".git"), "GIT_AUTHOR_NAME": "kept"}
    log = finished(user, user.submit("--freeze", "--", "git rev-parse --git-dir; env"))
    assert log.startswith(b".git\n")
    assert b"GIT_DIR=" not in log
    assert b"GIT_AUTHOR_NAME=kept" in log


def test_its_exit_status_is_the_commands_own(user: User) -> None:
    finished(user, user.submit("--freeze", "--", "exit 7"), 7)
    finished(user, user.submit("--freeze", "--", "kill -9 $$"), 128 + 9)


def test_a_retry_goes_on_in_the_same_copy(user: User) -> None:
    command = "ls; [ -e checkpoint ] || ! touch checkpoint"
    job = user.submit("--freeze", "--retries", "2", "--", command)
    assert finished(user, job) == b"checkpoint\ncode.sh\nsub\n"
    assert user.entries()[0].attempt == 2


def test_the_jobs_of_a_list_share_a_snapshot_and_have_their_own_copies(user: User) -> None:
    said = user.say("submit", "--freeze", "--key", "k", data=b"sh code.sh > out; ls\nls\n")
    assert said.out == b"1\n2\n"
    (user.folder / "code.sh").write_bytes(b"")
    assert finished(user, 1) == b"code.sh\nout\nsub\n"
    assert finished(user, 2) == b"code.sh\nsub\n"
    assert len({entry.snapshot for entry in user.entries()}) == 1
    again = user.say("submit", "--freeze", "--key", "k", data=b"ls\n")
    assert again.out == b"2\n"


def test_modules_in_the_work_tree_are_none_of_ours(user: User) -> None:
    """Python looks for modules where it is started: in the queue's folder, not in the tree."""
    for name in ("json.py", "shutil.py", "simple_gpu_scheduler.py", "subprocess.py"):
        (user.folder / name).write_text("import os; os.system('touch $HOME/trapped'); 1 / 0\n")
    user.env["HOME"] = str(user.folder.parent)
    assert finished(user, user.submit("--freeze", "--", "sh code.sh")) == b"2\n"
    assert not (user.folder.parent / "trapped").exists()


def test_a_script_runs_in_the_copy_too(user: User) -> None:
    (user.folder / "run.sh").write_bytes(b'#SGS --freeze\nsh code.sh; echo "$1"; pwd\n')
    job = user.submit("--hold", "run.sh", "a b")
    (user.folder / "run.sh").write_bytes(b"")
    (user.folder / "code.sh").write_bytes(b"")
    user.say("release", str(job))
    (state,) = user.state.glob("queue/*")
    assert finished(user, job) == os.fsencode(f"2\na b\n{state}/frozen/1\n")


def test_the_folder_may_be_gone_when_it_starts(user: User, tmp_path: Path) -> None:
    job = user.submit("--freeze", "--hold", "--", "sh code.sh")
    user.folder.rename(tmp_path / "moved")
    user.folder = tmp_path
    user.say("release", str(job))
    assert finished(user, job) == b"2\n"


def test_a_copy_that_cannot_be_made_fails_the_job_and_its_log_says_why(user: User) -> None:
    job = user.submit("--freeze", "--hold", "--", "echo started")
    (state,) = user.state.glob("queue/*")
    (state / "snapshots.git").rename(state / "elsewhere")
    user.say("release", str(job))
    log = finished(user, job, 125)
    assert log == b"sgs: error: the snapshot isn't there any more (was it removed by sgs clean?)\n"


def test_outside_of_a_work_tree_nothing_is_accepted(user: User, tmp_path: Path) -> None:
    user.folder = tmp_path
    assert "--freeze needs a git work tree" in user.refused("--freeze", "true")


def test_what_is_refused_later_is_not_accepted(user: User) -> None:
    assert "--after names job 7, which does not exist" in user.refused(
        "--freeze", "--after", "7", "true"
    )
    words = ["--freeze", "--", "echo " + "x" * 65_000, "x" * 66_040]
    assert "Linux takes 131071 at most" in user.refused(*words)
    assert "unknown directive" in user.refused("--freeze", "true # sgs: what=1")


def test_cleaning_up_removes_what_ended_jobs_had(user: User) -> None:
    for words in (["--group", "g"], ["--group", "g"], ["--hold"]):
        user.submit("--freeze", *words, "true")
        (user.folder / "code.sh").write_bytes(repr(words).encode())
    finished(user, 1)
    finished(user, 2)
    assert copies(user) == ["1", "2"]
    said = user.say("clean", "1", "3")
    assert said == (
        0,
        b"removed: 1 copy, 1 snapshot\n",
        b"sgs clean: left alone: 1 not ended\n",
    )
    assert copies(user) == ["2"]
    assert user.say("clean", "--group", "g").out == b"removed: 1 copy, 0 snapshots\n"
    assert user.say("clean", "--all") == (1, b"removed: 0 copies, 0 snapshots\n", b"")
    user.say("release", "3")
    assert finished(user, 3) == b""
    assert user.say("clean", "--all").out == b"removed: 1 copy, 1 snapshot\n"
    assert copies(user) == []


def test_what_failed_can_be_retried_until_it_is_cleaned_up(user: User) -> None:
    job = user.submit("--freeze", "--", "sh code.sh; exit 3")
    (user.folder / "code.sh").write_bytes(b"")
    finished(user, job, 3)
    assert finished(user, user.submit("--freeze", "--", "true")) == b""
    user.say("clean", "2")
    user.say("retry", str(job))
    assert finished(user, job, 3) == b"2\n"
    assert user.say("clean", str(job)).status == 0
    user.say("retry", str(job))
    assert b"was it removed by sgs clean?" in finished(user, job, 125)


def test_which_jobs_are_meant_is_to_be_said(user: User) -> None:
    assert user.say("clean").status == 2
    assert b"expected one of IDs, --group or --all" in user.say("clean", "--all", "3").err
    assert b"there is no job 9" in user.say("clean", "9").err


@pytest.mark.parametrize("words", [["--all"], ["--finished"]])
def test_what_a_killed_submission_has_kept_goes_too(user: User, words: list[str]) -> None:
    """It has written the files of the tree, and no snapshot of them."""
    finished(user, user.submit("--freeze", "--", "true"))
    (store,) = user.state.glob("queue/*/snapshots.git")
    (user.folder / "secret").write_text("token\n")
    written = subprocess.run(
        ["git", "--git-dir", store, "hash-object", "-w", user.folder / "secret"],
        env=user.env, stdout=subprocess.PIPE, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    torn = [store / "objects" / "tmp_objdir-x", store / "index-x", store.parent / "snapshots.gitx"]
    for folder in torn:
        (folder / "within").mkdir(parents=True)
    user.say("clean", *words)
    user.say("clean", *words)
    assert not any(path.exists() for path in torn)
    assert not (store / "objects" / written[:2] / written[2:]).exists()


def test_submitting_and_cleaning_at_once_lose_nothing(user: User) -> None:
    environ = {**user.env, "PATH": f"{SGS.parent}{os.pathsep}{os.environ['PATH']}"}
    for number in range(8):
        (user.folder / "code.sh").write_bytes(b"echo %d\n" % number)
        with subprocess.Popen(
            ["sh", "-c", 'while ! [ -e stop ]; do "$0" clean --all > out; done; true', "sgs"],
            cwd=user.state, env=environ,
        ) as cleaner:  # fmt: skip
            job = user.submit("--freeze", "--", "sh code.sh")
            assert finished(user, job) == b"%d\n" % number
            (user.state / "stop").touch()
            assert cleaner.wait() == 0
        (user.state / "stop").unlink()
