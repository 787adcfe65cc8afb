"""--retries, --halt, --delay, --dry-run, and values that can't be."""

import itertools
import os
import subprocess

import pytest

BAD_VALUES = [
    ("--gpus-per-job", "0"),
    ("--gpus-per-job", "-1"),
    ("--gpus-per-job", "x"),
    ("--gpus-per-job", "1.5"),
    ("--gpus-per-job", ""),
    ("--jobs-per-gpu", "0"),
    ("--jobs-per-gpu", "65"),
    ("--jobs-per-gpu", "two"),
    ("--retries", "-1"),
    ("--retries", "x"),
    ("--retries", "9" * 5000),
    ("--timeout", "soon"),
    ("--timeout", "-1"),
    ("--timeout", ""),
    ("--timeout", "nan"),
    ("--timeout", "inf"),
    ("--timeout", "1e3"),
    ("--timeout", "\u0661"),
    ("--grace", "x"),
    ("--grace", "-5"),
    ("--delay", "1y"),
    ("--delay", "1 s"),
    ("--halt", "x"),
    ("--halt", "soon"),
    ("--halt", "soon,fail"),
    ("--halt", "soon,fail=0"),
    ("--halt", "soon,fail=-1"),
    ("--halt", "later,fail=1"),
    ("--halt", "now,fail=x%"),
    ("--halt", "3"),
    ("--halt", ""),
]


@pytest.mark.parametrize(("option", "value"), BAD_VALUES)
def test_a_bad_value_is_an_error_that_names_its_option(box, option, value):
    result = box.run(["touch ran"], "--gpus", "0", f"{option}={value}")
    assert result.status == 2
    assert option in result.said[-1]
    assert "Traceback" not in result.err
    assert not (box.path / "ran").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--retries x", "argument --retries: expected a whole number, 0 or more, not 'x'"),
        ("--retries -1", "argument --retries: expected a whole number, 0 or more, not '-1'"),
        ("--gpus-per-job -1", "expected a whole number, 1 to 4096, not '-1'"),
        ("--jobs-per-gpu x", "expected a whole number, 1 to 64, not 'x'"),
        ("--keep-free -2", "expected a whole number, 0 to 4096, not '-2'"),
        ("--timeout -1", "--timeout '-1': expected seconds or a duration"),
        ("--delay -.5", "--delay '-.5': expected seconds or a duration"),
        ("--grace -0", "--grace '-0': expected seconds or a duration"),
        ("--pack --spread", "argument --spread: not allowed with argument --pack"),
    ],
)
def test_a_bad_value_says_what_was_expected(box, options, expected):
    result = box.run(["touch ran"], "--gpus", "0", *options.split())
    assert (result.status, os.listdir(box.path)) == (2, [])
    assert expected in result.said[-1]


@pytest.mark.parametrize(
    "options",
    [
        ["--gpu", "0"],
        ["--gpus", "0", "--jobs", "2"],
        ["--gpus", "0", "--time", "2"],
        ["--gpus", "0", "--dry"],
        ["--gpus", "0", "--nul"],
        ["--gpus", "0", "--unknown"],
        ["--gpus"],
        ["--gpus", "0", "--timeout"],
        ["--resume"],
        ["--gpus", "0", "--resume"],
        ["--gpus", "0", "--resume-failed"],
    ],
    ids=" ".join,
)
def test_usage_errors(box, options):
    result = box.run(["touch ran"], *options)
    assert result.status == 2
    assert "error" in result.err
    assert "Traceback" not in result.err
    assert not (box.path / "ran").exists()


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (["0,0"], "twice"),
        (["0", "1", "0"], "GPU 0 twice"),
        (["0,", "1"], "empty id"),
        (["0,,1"], "empty id"),
        ([""], "names no GPU"),
        ([","], "names no GPU"),
        ([" "], "names no GPU"),
        (["a b"], "'a b'"),
        (["a\nb"], "'a\\nb'"),
        (["\x1b[31m"], "'\\x1b[31m'"),
    ],
)
def test_ids_that_cannot_be(box, ids, words):
    result = box.run(["touch ran"], "--gpus", *ids)
    assert result.status == 2
    assert words in result.said[0]
    assert not (box.path / "ran").exists()


def test_a_file_among_the_ids_is_hinted_at(box):
    (box.path / "commands.txt").write_text("echo ran\n")
    (box.path / "0").write_text("echo ran\n")
    result = box.run(["true"], "--gpus", "0", "commands.txt")
    assert result.status == 0
    assert result.said == [
        "warning: 'commands.txt' is a file, but here it names a GPU; to run its lines: "
        "< commands.txt"
    ]


@pytest.mark.skipif(
    any(map(os.path.exists, ("/dev/nvidiactl", "/dev/dxg"))), reason="there is a driver"
)
def test_no_gpus_named_and_none_found(box):
    result = box.run(["touch ran"])
    assert result.status == 2
    assert "no GPU found" in result.said[0]
    assert "--gpus 0,1,2" in result.said[0]
    assert not (box.path / "ran").exists()


def test_durations_of_every_form_and_length(box):
    for value in ("90", "1.5s", "1h30m", "1d3.5h16.6m4s", ".5m", "25d", "99999999999", "9" * 400):
        result = box.run(["echo ran"], "--gpus", "0", "--timeout", value)
        assert (value, result.status, result.out) == (value, 0, "ran\n")


@pytest.mark.parametrize(
    ("options", "command"),
    [(["--timeout", "0"], "sleep 0.2"), (["--timeout", "0.1"], "sleep 0.3 # sgs: timeout=0s")],
)
def test_a_timeout_of_nothing_is_none(box, options, command):
    assert box.run([command], "--gpus", "0", *options).status == 0


def test_long_waits_of_every_kind(box):
    gate = box.gate()
    options = ["--gpus", "0,1", "--delay", "30d", "--grace", "30d"]
    run = box.start(*options)
    run.write(f"echo up >> up; trap 'echo term >> up' TERM; {gate.wait}; {gate.wait}\ntrue\n")
    box.wait_lines("up", 1)
    run.send(15)
    box.wait_lines("up", 2)
    gate.open(2)
    assert run.ended().status == 143


# --retries


@pytest.mark.parametrize(("tries", "runs"), [(1, 1), (2, 2), (5, 5)])
def test_a_job_runs_so_often_while_it_fails(box, tries, runs):
    result = box.run(
        ["echo x >> ran; false", "echo y >> other"], "--gpus", "0", "--retries", tries
    )
    assert len(box.read("ran")) == runs
    assert len(box.read("other")) == 1
    assert result.status == 1
    assert result.said[-1] == "1 of 2 jobs failed"
    assert result.err.count("trying again") == runs - 1


def test_a_job_runs_no_more_once_it_succeeds(box):
    command = "echo x >> 'r n'; [ $(wc -l < 'r n') = 3 ]"
    for retries in ("0", "7"):
        result = box.run([command], "--gpus", "0", "--retries", retries)
        assert (result.status, len(box.read("r n"))) == (0, 3)
        (box.path / "r n").unlink()


def test_retries_without_end_until_it_is_told_to_stop(box):
    run = box.start("--gpus", "0", "--retries", "0")
    run.write("echo x >> ran; exit 4\n")
    box.wait_lines("ran", 20)
    run.send(15)
    assert run.ended().status == 143


def test_retries_by_directive_and_after_a_signal(box):
    lines = ["echo a >> a; kill -9 $$ # sgs: retries=3", "echo b >> b; false"]
    assert box.run(lines, "--gpus", "0,1").status == 1
    assert (len(box.read("a")), len(box.read("b"))) == (3, 1)


# --halt


@pytest.mark.parametrize(
    ("rule", "lines", "ran", "status"),
    [
        ("never", ["false"] * 4, 4, 1),
        ("0", ["false"] * 4, 4, 1),
        ("soon,fail=1", ["true", "false", "true", "true"], 2, 1),
        ("1", ["true", "false", "true", "true"], 2, 1),
        ("2", ["true", "false", "true", "true"], 2, 1),
        ("now,fail=2", ["false", "true", "false", "true"], 3, 1),
        ("soon,success=1", ["false", "true", "true"], 2, 0),
        ("-1", ["false", "true", "true"], 2, 0),
        ("-2", ["false", "true", "true"], 2, 0),
        ("soon,done=2", ["false", "true", "true"], 2, 1),
        ("soon,fail=50%", ["true", "false", "true", "false", "true", "true"], 6, 1),
        ("50%", ["false", "true", "false", "true", "true", "true"], 6, 1),
        ("soon,fail=34%", ["false", "true", "false", "true", "true"], 3, 1),
        ("soon,done=100%", ["true", "true", "true"], 3, 0),
    ],
)
def test_halt_by_its_rule(box, rule, lines, ran, status):
    commands = [f"echo {n} >> ran; {line}" for n, line in enumerate(lines)]
    result = box.run(commands, "--gpus", "0", f"--halt={rule}")
    assert (len(box.read("ran")), result.status) == (ran, status)


@pytest.mark.parametrize("number", ["-1", "-2"])
def test_old_negative_numbers_may_follow_after_a_space(box, number):
    assert box.run(["true", "touch ran"], "--gpus", "0", "--halt", number).status == 0
    assert not (box.path / "ran").exists()


def test_halt_soon_lets_running_jobs_finish(box):
    gate, bad = box.gate(), box.gate("bad")
    run = box.start("--gpus", "0,1", "--halt", "soon,fail=1")
    run.write(f"{gate.wait}; echo finished\n{bad.wait}; false\necho never >> never\n")
    run.wait_starts(2)
    bad.open()
    run.wait_err("starting no more jobs")
    gate.open()
    result = run.ended(end_input=False)
    assert (result.status, result.out) == (1, "finished\n")
    assert box.read("never") == []


def test_halt_now_ends_running_jobs(box, is_alive):
    gate = box.gate()
    run = box.start("--gpus", "0,1", "--halt", "now,fail=1", "--joblog", "log")
    run.write(f"echo $$ >> pids; {gate.wait}; echo not finished\n")
    (pid,) = box.wait_pids("pids")
    run.write("false\necho never >> never\n")
    result = run.ended(end_input=False)
    assert (result.status, result.out) == (1, "")
    assert not is_alive(pid)
    assert [line.split("\t")[0] for line in box.read("log")] == ["Seq", "2"]


def test_halt_now_reaches_jobs_that_start_at_the_same_moment(box):
    """A command too large for the environment fails between two others' starts."""
    import resource

    large = "true " + "x" * 120_000
    gate = box.gate()
    lines = f"{gate.wait}\n{large}\n{gate.wait}\n"
    run = box.start(
        *["--gpus", "0,1,2", "--halt", "now,fail=1"],
        env={"LARGE": "x" * 120_000},
        limits={resource.RLIMIT_STACK: 900_000},
    )
    run.write(lines)
    result = run.ended(end_input=False)
    assert "can't be started: Argument list too long" in result.err
    assert result.status == 1


# --delay


def test_delay_keeps_starts_apart(box):
    stamp = "echo $(date +%s%N) >> starts"
    result = box.run([stamp] * 4, "--gpus", "0,1,2,3", "--delay", "0.15", "--joblog", "log")
    assert result.status == 0
    starts = sorted(float(line.split("\t")[2]) for line in box.read("log")[1:])
    apart = [later - one for one, later in itertools.pairwise(starts)]
    assert min(apart) > 0.14  # a lower bound only: the machine may be slow


# --dry-run


def test_dry_run_prints_and_runs_nothing(box):
    lines = ["touch 'a b' # sgs: gpus=2", "", "echo \u00e9 | cat > $HOME\\x", "  touch b"]
    result = box.run(lines, "--gpus", "0,1", "--dry-run", "--joblog", "log")
    assert result.out == "".join(f"{line}\n" for line in lines if line)
    assert (result.status, result.err) == (0, "")
    assert os.listdir(box.path) == []


def test_dry_run_keeps_bytes_and_separators(box):
    data = b"echo \xff\xfe\n\tx\0second\r\n\0"
    assert box.run(data, "--gpus", "0", "--dry-run", "-0").out_bytes == data


def test_dry_run_reports_what_would_be_refused(box):
    result = box.run(["true # sgs: gpus=9", "true"], "--gpus", "0", "--dry-run")
    assert (result.status, result.out) == (1, "true\n")
    assert "line 1: asks for 9 GPUs" in result.err


def test_dry_run_respects_resume(box):
    lines = ["true 1", "false 2", "true 3"]
    box.run(lines, "--gpus", "0", "--joblog", "log")
    log = (box.path / "log").read_bytes()
    options = ["--gpus", "0", "--dry-run", "--joblog", "log"]
    lines.append("true 4")
    assert box.run(lines, *options, "--resume").out == "true 4\n"
    assert box.run(lines, *options, "--resume-failed").out == "false 2\ntrue 4\n"
    assert box.run(lines, *options).out == "true 1\nfalse 2\ntrue 3\ntrue 4\n"
    assert (box.path / "log").read_bytes() == log


def test_dry_run_prints_as_lines_come(box):
    run = box.start("--gpus", "0", "--dry-run", stdout=subprocess.PIPE)
    run.write("one\n")
    assert run.process.stdout.readline() == b"one\n"
    run.write("two\n")
    assert run.process.stdout.readline() == b"two\n"
    assert run.ended().status == 0


def test_dry_run_into_a_closed_pipe(box):
    run = box.shell('yes "echo a" | "$S" --gpus 0 --dry-run | head -1; echo "${PIPESTATUS[1]}"')
    result = run.ended()
    assert (result.out, result.err) == ("echo a\n0\n", "")


def test_dry_run_waits_for_stdin_that_does_not_block(box):
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    run = box.start("--gpus", "0", "--dry-run", stdin=read_fd, stdout=subprocess.PIPE)
    os.close(read_fd)
    os.write(write_fd, b"one\n")
    assert run.process.stdout.readline() == b"one\n"
    run.process.stdout.close()
    os.close(write_fd)
    assert run.ended().status == 0


def test_dry_run_interrupted(box):
    run = box.start("--gpus", "0", "--dry-run", stdout=subprocess.PIPE)
    run.write("one\n")
    assert run.process.stdout.readline() == b"one\n"
    run.send(2)
    result = run.ended()
    assert (result.status, result.err) == (130, "")
