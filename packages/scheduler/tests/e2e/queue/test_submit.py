"""`sgs submit`, the installed command with a server of its own: what is accepted, and what not."""

from __future__ import annotations

import os
import pty
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from simple_gpu_scheduler.jobs.job import GPU_UNITS, share_units
from submitting import SGS, User

AWKWARD = b'it\'s "\xc3\xa9" $HOME\n\\ \xff;*'


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    one = User(tmp_path)
    assert one.say("server", "start", "--gpus", "0,1").status == 0
    yield one
    one.leave()


def script(user: User, name: bytes, *lines: bytes) -> bytes:
    path = os.path.join(os.fsencode(user.folder), name)
    with open(path, "wb") as file:
        file.write(b"\n".join(lines) + b"\n")
    return name


# what a job needs


def test_memory_that_is_to_be_found_out(user: User) -> None:
    user.submit("--hold", "--vram", "auto", "--priority", "-3", "true")
    user.submit("--hold", "--vram", "1G", "true  # sgs: vram=auto priority=7")
    user.submit("--hold", "--vram", "auto", "true  # sgs: vram=10G")
    user.submit("--hold", "--jobs-per-gpu", "4", "true")
    found = [(e.auto_memory, e.memory_mib, e.units, e.priority) for e in user.entries()]
    assert found == [
        (True, None, GPU_UNITS, -3),
        (True, None, GPU_UNITS, 7),
        (False, 10240, share_units(64), 0),
        (False, None, share_units(4), 0),
    ]


def test_it_starts_at_its_time_and_not_before(user: User) -> None:
    before_s = time.time()
    job = user.submit("--at", "+1s", "true")
    assert user.say("wait", str(job)).status == 0
    entry = user.entries()[0]
    assert entry.not_before_s is not None
    assert entry.started_s is not None
    assert entry.started_s >= entry.not_before_s >= before_s + 1


def test_only_a_terminal_is_told_when_it_starts(user: User) -> None:
    said = user.say("submit", "--at", "2100-01-01 8:00", "--", "true")
    assert said == (0, b"1\n", b"")
    ours, theirs = pty.openpty()
    subprocess.run(
        [SGS, "submit", "--at", "2100-01-01 8:00Z", "true"],
        env={**user.env, "TZ": "CET-1CEST,M3.5.0,M10.5.0/3"}, stderr=theirs, stdout=theirs,
        check=True,
    )  # fmt: skip
    os.close(theirs)
    assert os.read(ours, 4096) == b"sgs submit: not before Fri 2100-01-01 09:00:00 CET\r\n2\r\n"
    os.close(ours)


def test_of_delay_and_at_the_last_one_counts(user: User) -> None:
    user.submit("--at", "2100-01-01", "--delay", "0", "true")
    assert user.entries()[0].not_before_s is not None
    assert user.say("wait", "1").status == 0


def test_what_is_to_be_told_is_kept_with_the_job(user: User) -> None:
    user.submit(b"--notify=" + AWKWARD, "--hold", "true")
    assert user.entries()[0].notify == AWKWARD


# scripts


def test_a_script_runs_as_it_was_when_it_was_submitted(user: User) -> None:
    name = script(user, AWKWARD, b"#!/bin/sh", b'printf "%s|" "$@"; pwd')
    job = user.submit("--hold", "--script", name, "--", "--lr", AWKWARD, "", "-x")
    script(user, AWKWARD, b"#!/bin/sh", b"exit 9")
    user.say("release", str(job))
    assert user.say("wait", str(job)).status == 0
    folder = os.fsencode(user.folder)
    assert user.say("logs", str(job)).out == b"--lr|%b||-x|%b\n" % (AWKWARD, folder)


def test_its_interpreter_is_its_first_lines(user: User) -> None:
    script(user, b"one.py", b"#! /usr/bin/env  python3 ", b"import sys; print(sys.argv[1:])")
    assert user.run("--script", "one.py", "a b") == b"['a b']\n"
    script(user, b"two", b"#!/bin/sh -e", b"false", b"echo not reached")
    job = user.submit("--script", "two")
    assert user.say("wait", str(job)).status == 1
    script(user, b"three", b"echo no first line")
    assert user.run("--script", "three") == b"no first line\n"


def test_a_byte_order_mark_is_no_part_of_a_script_or_a_list(user: User) -> None:
    mark = b"\xef\xbb\xbf"
    script(user, AWKWARD, mark + b"#!/bin/sh", b"#SGS --name marked", b"echo ran $1")
    assert user.run(AWKWARD, "x") == b"ran x\n"
    assert user.entries()[0].name == "marked"
    (user.folder / "list").write_bytes(mark + b"echo listed\n")
    assert user.run("--file", "list") == b"listed\n"


def test_a_script_says_at_its_head_what_it_needs(user: User) -> None:
    name = script(
        user, b"train.sh", b"#!/bin/sh", b"# note, sgs: gpus=7", b"#SGS --gpus 2 --name 'a b' # 2",
        b"#SGS: retries=4 priority=3", b"# sgs: timeout=60 jobs-per-gpu=3", b"",
        b"echo $CUDA_VISIBLE_DEVICES $1", b"#SGS --gpus 9",
    )  # fmt: skip
    assert user.run(name, "x") == b"0,1 x\n"
    assert user.run(name, "--gpus", "1", "--", "--y") == b"0 --y\n"
    first, second = user.entries()
    assert (first.gpus, first.name, first.tries, first.priority) == (2, "a b", 4, 3)
    assert (first.timeout_s, first.units) == (60.0, share_units(3))
    assert (second.gpus, second.name) == (1, "a b")


def test_the_command_line_overrules_when_the_head_says_to_start(user: User) -> None:
    name = script(user, b"later.sh", b"#SGS --at 2100-01-01", b"echo now")
    assert user.run(name, "--delay", "0") == b"now\n"


def test_a_file_without_such_lines_is_a_command_and_so_is_what_follows_the_dashes(
    user: User,
) -> None:
    plain = script(user, b"plain.sh", b"#!/bin/sh", b"# sgs results", b"echo $0")
    (user.folder / "plain.sh").chmod(0o755)
    assert user.run(b"./" + plain) == b"./plain.sh\n"
    assert "but has no #SGS lines; if it is a script: --script" in user.refused(plain, "--", "1")
    headed = script(user, b"headed.sh", b"#!/bin/sh", b"#SGS gpus=2", b"echo $0")
    (user.folder / "headed.sh").chmod(0o755)
    assert user.run("--", b"./" + headed) == b"./headed.sh\n"


def test_one_shows_a_script_by_its_name_and_arguments(user: User) -> None:
    name = script(user, b"tr ain.sh", b"true")
    user.submit("--hold", "--script", name, "a b")
    assert b"  'tr ain.sh' 'a b'\n" in user.say("status").out
    assert b"\"'tr ain.sh' 'a b'\"" in user.say("status", "--json").out


def test_a_text_is_kept_once(user: User) -> None:
    for name in (b"one", b"two", b"one"):
        user.submit("--hold", "--script", script(user, name, b"true"))
    assert len(list(user.state.glob("queue/*/scripts/*"))) == 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([b"#SGS gpus 2"], "line 1 of s.sh: '#SGS gpus 2': expected options such as --gpus 2"),
        ([b"#!/bin/sh", b"", b"#SGS --gpus x"], "the #SGS lines of s.sh: argument --gpus"),
        ([b"#SGS --name 'x"], "line 1 of s.sh: No closing quotation"),
        ([b"#SGS --gpus 2 train"], "expected options only, not 'train'"),
        ([b"#SGS --file x"], "expected options only"),
        ([b"#SGS what=2"], "unrecognized arguments: --what=2"),
        ([b"#SGS --vram 10"], "expected a size with its unit"),
        ([b"#SGS"], "expected options such as"),
        ([b"#!/bin/sh\r", b"true\r"], "as those of DOS"),
        ([b"a\0b"], "is no text"),
    ],
)
def test_what_is_wrong_with_a_script_is_said(user: User, lines: list[bytes], said: str) -> None:
    assert said in user.refused("--script", script(user, b"s.sh", *lines))


def test_a_script_that_cannot_be_read_is_said(user: User) -> None:
    assert "can't be read: No such file" in user.refused("--script", "none.sh")
    assert "can't be read: Is a directory" in user.refused("--script", ".")
    (user.folder / "empty").touch()
    assert "is empty" in user.refused("--script", "empty")
    assert "but a script is given" in user.refused("--script", "empty", "--file", "x")


# lists


def test_a_list_comes_from_a_file_or_from_stdin(user: User) -> None:
    (user.folder / "list").write_bytes(b"echo 1\r\n\n  \necho 2 # sgs: gpus=2\necho " + b"3")
    assert user.say("submit", "--file", "list").out == b"1\n2\n3\n"
    assert user.say("submit", "--file", "-", data=b"echo 4\n").out == b"4\n"
    assert user.say("submit", "-0", data=b"echo 5\necho 6\n\0echo \xff\0\0").out == b"5\n6\n"
    commands = [entry.command for entry in user.entries()]
    assert commands == [
        b"echo 1", b"echo 2 # sgs: gpus=2", b"echo 3", b"echo 4", b"echo 5\necho 6\n", b"echo \xff"
    ]  # fmt: skip
    assert user.say("wait", "1-6").status == 0


def test_an_empty_list_is_no_error_but_said(user: User) -> None:
    assert user.say("submit") == (0, b"", b"sgs submit: there is no command; nothing is added\n")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"true\n\ntrue # sgs: gpus=x\n", "command 3: directive 'gpus=x'"),
        (b"true\na\0b\n", "command 2: the command holds a NUL byte"),
        (b"true\n" + b"x" * 200_000, "command 2: the command is 200000 bytes long"),
        (b"true # sgs: prio=1", "command 1: unknown directive 'prio'; known are"),
    ],
)
def test_of_a_list_all_are_accepted_or_none(user: User, data: bytes, said: str) -> None:
    assert said in user.refused(data=data)


def test_a_list_beside_a_command_is_refused(user: User) -> None:
    assert "but one command is given" in user.refused("--file", "list", "true")
    assert "but one command is given" in user.refused("-0", "true")
    assert "can't be read: No such file" in user.refused("--file", "none")
    assert "can't be read: Is a directory" in user.refused("--file", ".", status=2)


# keys


def test_a_list_can_be_submitted_again(user: User) -> None:
    lines = b"echo 1\nexit 3\necho 3\n"
    assert user.say("submit", "--group", "g", "--key", "k", data=lines) == (0, b"1\n2\n3\n", b"")
    user.say("wait", "--group", "g")
    again = user.say("submit", "--group", "g", "--key", "k", data=lines + b"echo 4\necho 1\n")
    assert again.out == b"1\n2\n3\n4\n1\n"
    assert again.err == (
        b"sgs submit: 1 added; already in the queue: 3 succeeded, 1 failed; to run it "
        b"again: sgs retry, or --retry-failed here\n"
    )
    assert user.say("submit", "--key", "other", data=b"echo 1\n").out == b"5\n"


def test_what_failed_is_run_again_by_choice(user: User) -> None:
    job = user.submit("--key", "k", "--", "echo $SGS_ATTEMPT; exit 3")
    user.say("wait", str(job))
    said = user.say("submit", "--key", "k", "--", "other")
    assert said == (
        0,
        b"1\n",
        b"sgs submit: job 1 has this key: failed; to run it again: sgs retry, or --retry-failed "
        b"here\n",
    )
    said = user.say("submit", "--key", "k", "--retry-failed", "--", "other")
    assert said == (
        0, b"1\n", b"sgs submit: job 1 has this key and had not succeeded; it is queued again\n"
    )  # fmt: skip
    assert user.say("wait", "1").status == 3
    assert user.say("logs", "1").out == b"2\n"
    (entry,) = user.entries()
    assert (entry.attempt, entry.state) == (2, "failed")


@pytest.mark.parametrize("how", ["cancelled", "held", "succeeded"])
def test_only_what_ended_without_success_is_run_again(user: User, how: str) -> None:
    user.submit("--key", "k", *(["--hold"] if how != "succeeded" else []), "true")
    if how == "cancelled":
        user.say("cancel", "1")
    if how == "succeeded":
        user.say("wait", "1")
    user.submit("--key", "k", "--retry-failed", "true")
    user.say("wait", "1") if how == "cancelled" else None
    (entry,) = user.entries()
    assert entry.state == ("held" if how == "held" else "succeeded")
    assert entry.attempt == (0 if how == "held" else 1)


def test_of_many_who_submit_one_key_at_once_one_is_heard(user: User) -> None:
    everybody = [
        subprocess.Popen(
            [SGS, "submit", "--key", "k\u00e9", "--hold", "--", "echo", str(number)],
            env=user.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number in range(8)
    ]  # fmt: skip
    said = [one.communicate() for one in everybody]
    assert [out for out, _ in said] == [b"1\n"] * 8
    assert (
        sorted(err for _, err in said) == [b""] + [b"sgs submit: job 1 has this key: held\n"] * 7
    )
    assert len(user.entries()) == 1


# what can't be


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpus", "x", "true"], "expected a number of GPUs, 1 or more, not 'x'"),
        (["--gpus", "9" * 30, "true"], "expected a number of GPUs"),
        (["--priority", "9" * 30, "true"], "expected a whole number"),
        (["--retries", "-1", "true"], "expected 0 (no limit), 1 or more"),
        (["--jobs-per-gpu", "65", "true"], "expected 1 to 64"),
        (["--at", "25:00", "true"], "--at '25:00': hour must be in 0..23; expected a time"),
        (["--at", "2020-01-01", "true"], "is past"),
        (["--delay", "9999999d", "true"], "before the year 9999"),
        (["--after", "9" * 30, "true"], "there is no job 9999"),
        (["--notify", " ", "true"], "--notify ' ': expected a command"),
        (["--retry-failed", "true"], "--retry-failed needs --key K"),
        (["--name", "\udcff", "true"], "--name '\\udcff': expected text in UTF-8"),
        (["--group", "\udcff", "true"], "expected text in UTF-8"),
        (["--key", "\udcff", "true"], "expected text in UTF-8"),
        (["train.py", "--lr", "1"], "the command and its options follow --"),
        (["--after", "1", "2", "--", "true"], "'2' stands before --, where only options are"),
        (["git", "log", "--", "file"], "'git' stands before --"),
        (["--", ""], "the command is empty"),
        ([" "], "the command is empty"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_accepted(
    user: User, words: list[str], said: str
) -> None:
    assert said in user.refused(*words)


@pytest.mark.parametrize("command", ["status", "wait", "cancel"])
def test_a_group_that_no_job_can_have_is_said(user: User, command: str) -> None:
    said = user.say(command, "--group", b"\xff")
    assert said == (2, b"", b"sgs: error: '\\udcff': expected text in UTF-8\n")


def test_a_command_that_no_program_can_be_given_is_refused(user: User) -> None:
    words = ["--", "echo", "x" * 70_000, "y" * 70_000]
    assert "is 140006 bytes long; Linux takes 131071 at most" in user.refused(*words)
    assert len(user.run("--", "echo", "x" * 131_000)) == 131_001


def test_a_folder_that_is_gone_is_said(user: User, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        ["/bin/sh", "-c", 'rmdir "$PWD" && exec "$0" submit -- true', SGS],
        cwd=tmp_path / "gone", env=user.env, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"this folder was removed" in done.stderr


def test_bytes_of_any_kind_come_through(user: User) -> None:
    user.env["ODD"] = os.fsdecode(AWKWARD)
    folder = user.folder / os.fsdecode(AWKWARD.replace(b"/", b""))
    folder.mkdir()
    log = user.run("--", b"printf '%s|' \"$ODD\" '\xfe' \"$PWD\"", cwd=folder)
    assert log == b"|".join([AWKWARD, b"\xfe", os.fsencode(folder), b""])


def test_a_large_environment_comes_through_and_one_that_is_too_large_is_told_of(
    user: User,
) -> None:
    user.env |= {f"LARGE{number}": "x" * 100_000 for number in range(15)}
    assert user.run("--", "env | grep -c ^LARGE") == b"15\n"
