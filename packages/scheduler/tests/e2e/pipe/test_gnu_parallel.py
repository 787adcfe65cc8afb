"""A job log of GNU parallel's resumes here, and the other way round."""

import os
import signal
import subprocess

import pytest

LINES = [
    "echo 1 >> ran",
    "echo 2 >> ran; exit 3",
    "echo 3 >> ran; kill -9 $$",
    "echo 'it''s'\t\"caf\u00e9\" '$x' \\\\ '#'; echo 4 >> ran",
    "",
    "echo 6 >> ran; exit 1",
    "echo 7 >> ran; false",
    "   echo 8 >> ran  ",
    "echo 9 >> ran; exit 255",
    "echo 10 >> ran; sleep 100",
]
FAILED = [2, 3, 6, 7, 9, 10]


@pytest.fixture
def theirs(box, gnu_parallel):
    """Run GNU parallel on commands, one at a time, as ours does with one GPU."""

    def run(commands, *options, check=True):
        if not isinstance(commands, bytes):
            commands = "".join(f"{line}\n" for line in commands).encode()
        env = {**box.env, "PARALLEL_SHELL": "/bin/sh", "HOME": str(box.path)}
        done = subprocess.run(
            [gnu_parallel, "--will-cite", "-j1", "--joblog", "log", *options],
            input=commands,
            cwd=box.path,
            env=env,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert not check or b"rror:" not in done.stderr, done.stderr
        return done

    return run


def _ours(box, commands, *options):
    return box.run(commands, "--gpus", "0", "--joblog", "log", *options)


def _ran(box):
    """Numbers of the jobs that ran since it was asked last."""
    ran = [int(line) for line in box.read("ran")]
    (box.path / "ran").unlink(missing_ok=True)
    return ran


TIMEOUT = ["--timeout", "0.3"]
NUMBERS = [1, 2, 3, 4, 6, 7, 8, 9, 10]


def test_both_write_the_same_log(box, theirs, parse_joblog):
    """But for a blank line, which GNU parallel runs, and for spaces at the end, which it keeps."""
    theirs(LINES, "--timeout", "1")
    os.rename(box.path / "log", box.path / "their log")
    _ours(box, LINES, *TIMEOUT)
    their_rows = [row for row in parse_joblog(box.path / "their log") if row[3]]
    assert parse_joblog(box.path / "log") == their_rows
    assert (box.path / "log").read_bytes().split(b"\n")[0] == (
        (box.path / "their log").read_bytes().split(b"\n")[0]
    )


@pytest.mark.parametrize("written", range(0, 11, 2))
def test_ours_resumes_a_part_of_theirs(box, theirs, written):
    theirs(LINES[:written], "--timeout", "1")
    assert _ran(box) == [n for n in NUMBERS if n <= written]
    result = _ours(box, LINES, "--resume", *TIMEOUT)
    assert _ran(box) == [n for n in NUMBERS if n > written]
    assert not any("warning" in line for line in result.said)


@pytest.mark.parametrize("written", range(0, 11, 2))
def test_theirs_resumes_a_part_of_ours(box, theirs, written):
    _ours(box, LINES[:written], *TIMEOUT)
    assert _ran(box) == [n for n in NUMBERS if n <= written]
    theirs(LINES, "--resume", "--timeout", "1")
    assert _ran(box) == [n for n in NUMBERS if n > written]


def test_ours_reruns_what_failed_there(box, theirs):
    theirs(LINES, "--timeout", "1")
    _ran(box)
    _ours(box, LINES, "--resume-failed", *TIMEOUT)
    assert _ran(box) == FAILED


def test_theirs_reruns_what_failed_here(box, theirs):
    _ours(box, LINES, *TIMEOUT)
    _ran(box)
    theirs(LINES, "--resume-failed", "--timeout", "1")
    assert _ran(box) == FAILED


def test_theirs_retries_what_failed_here(box, theirs):
    """--retry-failed reads the commands from the log."""
    _ours(box, LINES, *TIMEOUT)
    _ran(box)
    theirs(b"", "--retry-failed", "--timeout", "1")
    assert _ran(box) == FAILED


def test_back_and_forth(box, theirs):
    _ours(box, LINES[:3])
    theirs(LINES[:5], "--resume")
    _ours(box, LINES[:8], "--resume", *TIMEOUT)
    theirs(LINES, "--resume", "--timeout", "1")
    assert _ran(box) == NUMBERS


SCRIPTS = [b"echo 1 >> ran\necho 'a\n b' > /dev/null\n", b"echo 2 >> ran\nfalse", b"echo 3 >> ran"]


def test_commands_of_several_lines(box, theirs, parse_joblog):
    theirs(b"".join(script + b"\0" for script in SCRIPTS[:2]), "-0")
    their_rows = parse_joblog(box.path / "log")
    _ran(box)
    data = b"".join(script + b"\0" for script in SCRIPTS)
    result = _ours(box, data, "-0", "--resume")
    assert (_ran(box), result.said) == ([3], [])
    _ours(box, data, "-0")
    assert parse_joblog(box.path / "log")[:2] == their_rows
    _ran(box)
    theirs(data, "-0", "--resume-failed")
    assert _ran(box) == [2]


def test_undecodable_commands(box, theirs):
    data = b"echo 1 >> ran # \xff\xfe\necho 2 >> ran; false # \x80\n"
    _ours(box, data)
    theirs(data, "--resume")
    assert _ran(box) == [1, 2]
    theirs(data, "--resume-failed")
    assert _ran(box) == [2]


def test_ours_resumes_where_theirs_was_killed(box, gnu_parallel, each_once):
    gate = box.gate()
    lines = [f"echo {n} >> ran" for n in range(1, 21)]
    lines[7] = f"echo up >> up; {gate.wait}; echo 8 >> ran"
    (box.path / "in").write_text("".join(f"{line}\n" for line in lines))
    with open(box.path / "in", "rb") as file:
        run = box.start(
            *["--will-cite", "-j1", "--joblog", "log"],
            command=[gnu_parallel],
            stdin=file,
            env={"HOME": str(box.path), "PARALLEL_SHELL": "/bin/sh"},
        )
        box.wait_lines("up", 1)
        os.killpg(run.pid, signal.SIGKILL)
        run.ended()
    logged = {int(row.split("\t")[0]) for row in box.read("log")[1:]}
    assert logged == set(range(1, 8))
    _ran(box)
    box.kill_all()
    gate.open()
    assert _ours(box, lines, "--resume").status == 0
    each_once(_ran(box), set(range(1, 21)) - logged)


def test_theirs_resumes_where_ours_was_interrupted(box, theirs):
    gate = box.gate()
    lines = [f"echo {n} >> ran" for n in range(1, 11)]
    lines[4] = f"echo up >> up; {gate.wait}; echo 5 >> ran"
    run = box.start("--gpus", "0", "--joblog", "log")
    run.write("".join(f"{line}\n" for line in lines))
    box.wait_lines("up", 1)
    run.send(signal.SIGTERM)
    run.ended(end_input=False)
    gate.open()
    theirs(lines, "--resume")
    assert _ran(box) == list(range(1, 11))


def test_theirs_takes_a_log_that_ours_went_on_with_after_a_tear(box, theirs):
    lines = [f"echo {n} >> ran" for n in range(1, 5)]
    _ours(box, lines[:2])
    rows = (box.path / "log").read_bytes().splitlines(keepends=True)
    (box.path / "log").write_bytes(b"".join(rows[:2]) + rows[2][:12])
    _ran(box)
    _ours(box, lines[:3], "--resume")
    assert _ran(box) == [2, 3]
    theirs(lines, "--resume-failed")
    assert _ran(box) == [4]


def test_the_words_of_halt_and_retries_mean_what_they_mean_there(box, theirs):
    for options in (
        ["--halt", "soon,fail=1"],
        ["--halt", "now,fail=2"],
        ["--halt", "soon,success=1"],
        ["--halt", "soon,done=2"],
        ["--halt", "never"],
        ["--halt", "0"],
        ["--halt", "1"],
        ["--halt", "2"],
        ["--retries", "3"],
        ["--retries", "1"],
    ):
        lines = ["echo 1 >> ran; false", "echo 2 >> ran", "echo 3 >> ran; false", "echo 4 >> ran"]
        theirs(lines, *options, check=False)
        expected = sorted(_ran(box))
        box.run(lines, "--gpus", "0", *options)
        assert (options, sorted(_ran(box))) == (options, expected)
