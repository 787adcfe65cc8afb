"""--joblog, --resume and --resume-failed; what GNU parallel makes of them is in another file."""

import os
import resource
import signal
import subprocess

import pytest

HEADER = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
LINES = [
    "echo 1 >> ran",
    "echo 2 >> ran; exit 3",
    "echo 3 >> ran; kill -9 $$",
    "echo 'it''s'\t\"caf\u00e9\" '#' \\\\ '$x'; echo 4 >> ran",
    "",
    "echo 6 >> ran; false",
]


def _log(box, *rows):
    text = HEADER + "".join(f"{seq}\t:\t1.0\t0.1\t0\t0\t{code}\t0\t{c}\n" for seq, code, c in rows)
    (box.path / "log").write_text(text)


def test_a_row_for_each_job(box, parse_joblog):
    box.run(LINES, "--gpus", "0", "--joblog", "log")
    assert parse_joblog(box.path / "log") == [
        (1, 0, 0, b"echo 1 >> ran"),
        (2, 3, 0, b"echo 2 >> ran; exit 3"),
        (3, 0, 9, b"echo 3 >> ran; kill -9 $$"),
        (4, 0, 0, LINES[3].encode()),
        (6, 1, 0, b"echo 6 >> ran; false"),
    ]


def test_the_times_are_those_of_the_job(box):
    box.run(["date +%s.%N > began; sleep 0.2"], "--gpus", "0", "--joblog", "log")
    _, _, start, runtime, *_ = box.read("log")[1].split("\t")
    began = float(box.read("began")[0])
    assert began - 20 < float(start) <= began
    assert float(runtime) >= 0.2


def test_a_row_is_there_when_the_next_job_starts(box):
    run = box.run(["true", "wc -l < log"], "--gpus", "0", "--joblog", "log")
    assert run.out == "2\n"


def test_a_retried_job_has_one_row_with_its_last_end(box, parse_joblog):
    command = "echo x >> tries; [ $(wc -l < tries) = 3 ]"
    options = ["--gpus", "0", "--retries", "5", "--joblog", "log"]
    assert box.run([command, "false"], *options).status == 1
    assert [row[:3] for row in parse_joblog(box.path / "log")] == [(1, 0, 0), (2, 1, 0)]


def test_resume_runs_what_is_missing(box):
    box.run(LINES[:2], "--gpus", "0", "--joblog", "log")
    (box.path / "ran").unlink()
    result = box.run(LINES, "--gpus", "0", "--joblog", "log", "--resume")
    assert box.read("ran") == ["3", "4", "6"]
    assert result.status == 1
    assert not any("warning" in line for line in result.said)


def test_resume_of_all_runs_nothing(box):
    box.run(LINES, "--gpus", "0", "--joblog", "log")
    before = (box.path / "log").read_bytes()
    result = box.run(LINES, "--gpus", "0", "--joblog", "log", "--resume")
    assert (result.status, result.err) == (0, "")
    assert (box.path / "log").read_bytes() == before


def test_resume_failed_runs_the_failed_and_the_missing(box):
    box.run(LINES[:4], "--gpus", "0", "--joblog", "log")
    (box.path / "ran").unlink()
    box.run(LINES, "--gpus", "0", "--joblog", "log", "--resume-failed")
    assert box.read("ran") == ["2", "3", "6"]


def test_the_last_row_of_a_job_counts(box):
    flag = ["[ -e flag ]"]
    box.run(flag, "--gpus", "0", "--joblog", "log")
    (box.path / "flag").touch()
    options = ["--gpus", "0", "--joblog", "log", "--resume-failed"]
    assert len(box.run(flag, *options).processing) == 1
    assert len(box.run(flag, *options).processing) == 0
    assert len(box.read("log")) == 3


def test_resume_without_a_log_yet(box):
    result = box.run(["echo a"], "--gpus", "0", "--joblog", "log", "--resume")
    assert (result.status, result.out, len(box.read("log"))) == (0, "a\n", 2)


@pytest.mark.parametrize("content", ["", HEADER])
def test_resume_with_an_empty_log(box, content, parse_joblog):
    (box.path / "log").write_text(content)
    result = box.run(["echo a"], "--gpus", "0", "--joblog", "log", "--resume")
    assert result.out == "a\n"
    assert len(parse_joblog(box.path / "log")) == 1


def test_commands_of_several_lines(box, parse_joblog):
    script = "echo one\necho 'two\n  three'\n"
    box.run(f"{script}\0echo last\0", "--gpus", "0", "-0", "--joblog", "log")
    rows = parse_joblog(box.path / "log")
    assert rows[0][3] == script.replace("\n", "\0").encode()
    again = box.run(
        f"{script}\0echo last\0echo more\0", "--gpus", "0", "-0", "--joblog", "log", "--resume"
    )
    assert (again.out, again.said) == ("more\n", [])


def test_undecodable_commands(box, parse_joblog):
    data = b"echo \xff\xfe\x80\n"
    assert box.run(data, "--gpus", "0", "--joblog", "log").out_bytes == b"\xff\xfe\x80\n"
    assert parse_joblog(box.path / "log")[0][3] == data[:-1]
    again = box.run(data, "--gpus", "0", "--joblog", "log", "--resume")
    assert (again.out, again.said) == ("", [])


def test_a_changed_input_is_warned_of_once(box):
    box.run(["true 1", "true 2", "true 3"], "--gpus", "0", "--joblog", "log")
    lines = ["true 1", "true changed", "true too", "echo new"]
    result = box.run(lines, "--gpus", "0", "--joblog", "log", "--resume")
    assert (result.status, result.out) == (0, "new\n")
    assert len(result.said) == 1
    assert result.said[0].startswith("warning: line 2 ")
    assert "was the input changed?" in result.said[0]


def test_a_torn_row_counts_as_not_written(box):
    _log(box, (1, 0, "echo 1"))
    with open(box.path / "log", "a") as file:
        file.write("2\t:\t1795403186.2")
    lines = ["echo 1", "echo 2", "echo 3"]
    result = box.run(lines, "--gpus", "0", "--joblog", "log", "--resume")
    assert result.out == "2\n3\n"
    again = box.run(lines, "--gpus", "0", "--joblog", "log", "--resume")
    assert (again.out, again.status) == ("", 0)


def test_a_row_torn_within_its_command_counts_as_not_written(box):
    _log(box, (1, 0, "echo 1"), (2, 0, "echo some"))
    os.truncate(box.path / "log", os.path.getsize(box.path / "log") - 3)
    lines = ["echo 1", "echo something"]
    result = box.run(lines, "--gpus", "0", "--joblog", "log", "--resume")
    assert (result.out, result.said) == ("something\n", [])


@pytest.mark.parametrize("options", [[], ["--resume"], ["--resume-failed"]], ids=str)
@pytest.mark.parametrize(
    "content",
    [
        b"echo precious\n",
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 100,
        b"Seq\tHost\n",
        b"Seq",
        b"\n\n",
        b"\0" * 5000,
    ],
)
def test_a_file_that_is_no_joblog_is_left_as_it_is(box, content, options):
    (box.path / "log").write_bytes(content)
    result = box.run(["touch ran"], "--gpus", "0", "--joblog", "log", *options)
    assert result.status == 2
    assert "--joblog 'log'" in result.said[0]
    assert "isn't a job log" in result.said[0]
    assert (box.path / "log").read_bytes() == content
    assert sorted(os.listdir(box.path)) == ["log"]


@pytest.mark.parametrize(
    "seq",
    [
        "0",
        "99999999999999999",
        "4294967296",
        "999999999999",
    ],
)
def test_a_row_with_an_absurd_number_is_survived(box, seq):
    _log(box, (1, 0, "echo 1"), (seq, 0, "true"))
    result = box.run(
        ["echo 1", "echo 2"],
        *["--gpus", "0", "--joblog", "log", "--resume"],
        limits={resource.RLIMIT_AS: 2 << 30},
    )
    assert (result.status, result.out) == (0, "2\n")
    assert "Traceback" not in result.err


def test_an_existing_log_is_set_aside(box):
    box.run(["echo old"], "--gpus", "0", "--joblog", "log")
    old = (box.path / "log").read_bytes()
    box.run(["echo new"], "--gpus", "0", "--joblog", "log")
    assert (box.path / "log~").read_bytes() == old
    assert box.read("log")[1].endswith("\techo new")


@pytest.mark.parametrize("path", [".", "no/such/folder/log", "log/log", "/dev/full", ""])
def test_an_unwritable_log_is_an_error_before_anything_runs(box, path):
    if path == "log/log":
        (box.path / "log").touch()
    result = box.run(["touch ran"], "--gpus", "0", "--joblog", path)
    assert result.status == 2
    assert f"--joblog {path!r}" in result.said[0]
    assert not (box.path / "ran").exists()


def test_a_log_that_takes_no_more_stops_the_run_and_names_the_row(box):
    """A file may grow to 900 bytes only, as on a full disk."""
    lines = [f"echo {n} >> ran; : {'x' * 200}" for n in range(1, 9)]
    result = box.run(lines, "--gpus", "0", "--joblog", "log", limits={resource.RLIMIT_FSIZE: 900})
    assert result.status == 1
    ran = box.read("ran")
    assert len(ran) < 8
    error = next(line for line in result.said if line.startswith("error: --joblog 'log'"))
    assert "starting no more jobs" in error
    assert f"not logged is: {ran[-1]} : " in error
    assert f"echo {ran[-1]} >> ran" in error
    again = box.run(lines, "--gpus", "0", "--joblog", "log", "--resume")
    assert again.status == 0
    assert set(range(len(ran), 9)) <= set(map(int, box.read("ran")[len(ran) :]))


def test_what_was_called_not_logged_runs_again(box):
    """The message says so also when half of the row has reached the file."""
    command = f"echo x; : {'some long command that will be torn somewhere ' * 20}"
    for size in range(900, 1000, 17):
        result = box.run(
            [command],
            *["--gpus", "0", "--joblog", f"log{size}"],
            limits={resource.RLIMIT_FSIZE: size},
        )
        assert (result.status, "not logged is: 1 " in result.err) == (1, True)
        again = box.run(
            [command],
            *["--gpus", "0", "--joblog", f"log{size}", "--resume"],
        )
        assert (size, again.out, again.said) == (size, "x\n", [])


def test_jobs_that_run_while_the_log_fails_are_let_finish_and_named(box):
    gate = box.gate()
    earlier = f"{HEADER}9\t:\t1\t1\t0\t0\t0\t0\t{'x' * 900}\n"
    (box.path / "log").write_text(earlier)
    run = box.start(
        *["--gpus", "0,1", "--joblog", "log", "--resume"],
        limits={resource.RLIMIT_FSIZE: len(earlier)},
    )
    run.write(f"{gate.wait}; echo finished\n")
    run.wait_starts(1)
    run.write("true\n")
    run.wait_err("starting no more jobs")
    gate.open()
    result = run.ended()
    assert (result.status, result.out) == (1, "finished\n")
    assert "not logged is: 2 " in result.err
    assert "not logged is: 1 " in result.err


def test_killed_it_resumes_exactly_what_the_log_lacks(box, each_once):
    gate = box.gate()
    lines = [f"echo {n} >> ran" for n in range(1, 41)]
    lines[20] = f"echo 21 >> up; {gate.wait}; echo 21 >> ran"
    run = box.start("--gpus", "0,1", "--joblog", "log")
    run.write("".join(f"{line}\n" for line in lines))
    box.wait_lines("up", 1)
    box.wait_lines("log", 40)
    run.send(signal.SIGKILL)
    run.ended(end_input=False)
    logged = {int(row.split("\t")[0]) for row in box.read("log")[1:]}
    assert 21 not in logged
    box.kill_all()
    (box.path / "ran").unlink()
    gate.open()
    result = box.run(lines, "--gpus", "0,1", "--joblog", "log", "--resume")
    assert result.status == 0
    each_once(map(int, box.read("ran")), set(range(1, 41)) - logged)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_interrupted_it_resumes_exactly_what_the_log_lacks(box, number, each_once):
    gate = box.gate()
    lines = [f"echo {n} >> ran" for n in range(1, 31)]
    lines[9] = f"echo up >> up; {gate.wait}; echo 10 >> ran"
    run = box.start("--gpus", "0", "--joblog", "log")
    run.write("".join(f"{line}\n" for line in lines))
    box.wait_lines("up", 1)
    run.send(number)
    if number == signal.SIGINT:
        run.wait_err("a second one ends them")
        gate.open()
    run.ended(end_input=False)
    gate.open()
    assert box.run(lines, "--gpus", "0", "--joblog", "log", "--resume").status == 0
    each_once(map(int, box.read("ran")), range(1, 31))


def test_the_log_may_be_a_pipe(box):
    run = box.shell('echo true | "$S" --gpus 0 --joblog /dev/stdout | cat')
    result = run.ended()
    assert result.out.startswith(HEADER)
    assert result.out.endswith("\ttrue\n")


def test_a_log_by_way_of_a_symbolic_link(box):
    (box.path / "target").mkdir()
    (box.path / "log").symlink_to("target/log")
    for command in ("echo 1", "echo 2"):
        box.run([command], "--gpus", "0", "--joblog", "log")
    assert (box.path / "log").read_text().endswith("\techo 2\n")


@pytest.mark.parametrize("options", [[], ["--resume"], ["--resume-failed"]], ids=str)
def test_a_log_is_one_schedulers_at_a_time(box, options):
    box.run(["echo old"], "--gpus", "0", "--joblog", "log")
    gate = box.gate()
    run = box.start("--gpus", "0", "--joblog", "log", "--resume")
    run.write(f"true\n{gate.wait}\n")
    run.wait_starts(1)
    before = (box.path / "log").read_bytes()
    result = box.run(["touch ran", "touch ran"], "--gpus", "1", "--joblog", "./log", *options)
    assert result.status == 2
    assert result.said[-1].startswith("error: --joblog './log' is in use by another scheduler; ")
    assert (box.path / "log").read_bytes() == before
    assert not (box.path / "log~").exists()
    assert not (box.path / "ran").exists()
    gate.open()
    assert run.ended().status == 0
    assert len(box.read("log")) == 3
    assert box.run(["true"], "--gpus", "1", "--joblog", "log", *options).status == 0


def test_a_killed_scheduler_leaves_the_log_free_though_its_jobs_run_on(box):
    gate = box.gate()
    run = box.start("--gpus", "0", "--joblog", "log")
    run.write(f"echo up >> up; {gate.wait}\n")
    box.wait_lines("up", 1)
    run.send(signal.SIGKILL)
    run.ended(end_input=False)
    assert box.processes() != []
    assert box.run(["true", "true"], "--gpus", "1", "--joblog", "log", "--resume").status == 0


def test_what_is_no_file_may_have_several_writers(box):
    run = box.start("--gpus", "0", "--joblog", "/dev/null")
    run.write("true\n")
    run.wait_starts(1)
    assert box.run(["true"], "--gpus", "0", "--joblog", "/dev/null").status == 0
    assert run.ended().status == 0


def test_log_and_events_are_two_files(box):
    result = box.run(["touch ran"], "--gpus", "0", "--joblog", "f", "--json", "./f")
    assert (result.status, os.listdir(box.path)) == (2, [])
    assert result.said == ["error: --joblog and --json both write to './f'; name two files"]


def test_a_folder_that_is_missing_is_named_with_what_to_do(box):
    options = ["--gpus", "0", "--joblog", "new one/log"]
    result = box.run(["true"], *options)
    assert result.status == 2
    assert result.said[-1].endswith("; make its folder first: mkdir -p 'new one'")
    assert box.run(["true"], *options, "--results", "new one").status == 0, "that makes it"


def test_the_log_of_a_descriptor(box):
    read_fd, write_fd = os.pipe()
    process = subprocess.run(
        [box.command, "--gpus", "0", "--joblog", f"/dev/fd/{write_fd}"],
        input=b"true\n",
        pass_fds=[write_fd],
        cwd=box.path,
        env=box.env,
        capture_output=True,
        check=False,
    )
    os.close(write_fd)
    with open(read_fd, "rb") as file:
        assert file.read().count(b"\n") == 2
    assert process.returncode == 0
