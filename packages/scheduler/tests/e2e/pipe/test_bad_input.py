"""Whatever comes in: a clear error where there is one, and everything else runs."""

import fcntl
import os
import resource
import subprocess
import termios

import pytest

LONGEST = 32 * 4096 - 1


def _line(size):
    """A command of so many bytes that says its own size."""
    head, tail = b"echo ran >> got; : ", b" END"
    return head + b"x" * (size - len(head) - len(tail)) + tail


def test_undecodable_bytes_run_untouched(box):
    data = b"printf %s 'a\xff\xfe\x80\xc3 b' > \xe9\xff; echo \xed\xa0\x80"
    result = box.run(data + b"\n", "--gpus", "0")
    assert (result.status, result.out_bytes) == (0, b"\xed\xa0\x80\n")
    with open(os.fsencode(box.path) + b"/\xe9\xff", "rb") as file:
        assert file.read() == b"a\xff\xfe\x80\xc3 b"
    assert [line.encode(errors="surrogateescape") for line in result.processing] == [
        b"Processing command `" + data + b"` on gpu 0"
    ]


def test_the_locale_changes_nothing(box):
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    data = "echo 'é\u65e5' # \xff\nfalse é # sgs: gpus=é\n".encode() + b"false \xff\n"
    result = box.run(data, "--gpus", "0", "--joblog", "é", env=env)
    assert result.out == "é\u65e5\n"
    assert len(result.processing) == 2
    assert "Traceback" not in result.err
    assert (box.path / "é").exists()


def test_a_nul_within_a_line_fails_that_line_only(box):
    result = box.run(b"echo 1 >> got\necho\0 2 >> got\necho 3 >> got\n", "--gpus", "0")
    assert result.status == 1
    assert box.read("got") == ["1", "3"]
    assert result.said[0].startswith("error: line 2: holds a NUL byte")
    assert "--null" in result.said[0]


def _run(box, data, *, pipe=False):
    """Run what a file holds, by way of a pipe by choice."""
    (box.path / "in").write_bytes(data)
    run = box.shell(f'{"cat in |" if pipe else ""} "$S" --gpus 0 {"" if pipe else "< in"}')
    return run.ended(bound_s=10)


@pytest.mark.parametrize(
    "size",
    [
        4095,
        65535,
        65536,
        65537,
        100_000,
        LONGEST,
    ],
)
@pytest.mark.parametrize("end", [b"", b"\n", b"\necho after >> got\n"], ids=["eof", "end", "more"])
@pytest.mark.parametrize("pipe", [False, True], ids=["file", "pipe"])
def test_a_long_line_runs(box, size, end, pipe):
    result = _run(box, _line(size) + end, pipe=pipe)
    assert result.status == 0
    assert box.read("got") == ["ran"] + ["after"] * (b"after" in end)


def test_a_line_of_some_100_kb_runs(box):
    assert _run(box, _line(100_000) + b"\n").status == 0


@pytest.mark.parametrize("size", [LONGEST + 1, 200_000, 10_000_000])
@pytest.mark.parametrize("end", [b"", b"\n"], ids=["eof", "end"])
@pytest.mark.parametrize("pipe", [False, True], ids=["file", "pipe"])
def test_a_line_too_long_for_the_system_fails_alone(box, size, end, pipe):
    data = b"echo 1 >> got\n" + _line(size) + b"\necho 3 >> got\n" + _line(size) + end
    result = _run(box, data, pipe=pipe)
    assert result.status == 1
    assert box.read("got") == ["1", "3"]
    assert result.said[0].startswith(f"error: line 2: is {size} bytes long")
    assert result.said[1].startswith(f"error: line 4: is {size} bytes long")
    assert "131071" in result.said[0]
    assert len(result.said[0]) < 1000


def test_a_line_too_long_is_shown_by_its_beginning(box):
    result = _run(box, b"python train.py --all " + b"x" * 500_000 + b"\n")
    assert "`python train.py --all x" in result.said[0]


def test_the_longest_line_may_end_as_on_windows(box):
    assert _run(box, _line(LONGEST) + b"\r\n").status == 0


def test_long_lines_among_others_lose_none_of_them(box, each_once):
    lines = []
    for number in range(1, 200):
        lines.append(b"echo %d >> ran" % number)
        if number % 20 == 0:
            lines.append(b": " + b"y" * (number * 331))
    assert _run(box, b"\n".join(lines)).status == 0
    each_once(map(int, box.read("ran")), range(1, 200))


def test_a_command_too_large_for_the_environment_fails_alone(box):
    lines = ["echo 1 >> got", "echo 2 >> got; : " + "x" * 60_000, "echo 3 >> got"]
    result = box.run(
        lines,
        *["--gpus", "0", "--joblog", "log"],
        env={f"LARGE{n}": "v" * 60_000 for n in range(3)},
        limits={resource.RLIMIT_STACK: 900_000},
    )
    assert result.status == 1
    assert box.read("got") == ["1", "3"]
    assert "error: line 2: can't be started: Argument list too long" in result.err


def test_very_large_variables_reach_the_jobs(box):
    result = box.run(['printf %s "$LARGE" | wc -c'], "--gpus", "0", env={"LARGE": "v" * 100_000})
    assert (result.status, result.out.strip()) == (0, "100000")


@pytest.mark.parametrize(
    "command", ["&&", "if", "echo 'open", "echo $(", "<< x", "done", "{", ")"]
)
def test_what_the_shell_cannot_read_is_a_failed_job(box, command):
    result = box.run([command, "echo rest"], "--gpus", "0")
    assert result.status in (0, 1)
    assert result.out == "rest\n"
    assert "Traceback" not in result.err


@pytest.mark.parametrize("command", ["-x", "--", "-c", "+e", "-"])
def test_a_command_that_looks_like_an_option_of_the_shell(box, command):
    result = box.run([command, "echo rest"], "--gpus", "0")
    assert (result.status, result.out) == (1, "rest\n")


# Closed and broken descriptors


def test_stdin_closed(box):
    result = box.shell('"$S" --gpus 0 <&-; echo "status $?"').ended()
    assert result.out == "status 2\n"
    assert "stdin is closed" in result.err


def test_stdin_and_stderr_closed(box):
    assert box.shell('"$S" --gpus 0 <&- 2>&-; echo "status $?"').ended().out == "status 2\n"


def test_stdout_closed(box):
    result = box.shell(
        "printf 'echo lost; echo kept >> got; ls -l /proc/self/fd >> got\\n' | \"$S\" --gpus 0"
        ' --joblog log >&-; echo "status $?"'
    ).ended()
    assert result.out == "status 0\n"
    assert "stdout is closed" in result.err
    assert box.read("got")[0] == "kept"
    assert len(box.read("log")) == 2


def test_stderr_closed(box):
    result = box.shell(
        "printf 'echo out; echo err >&2\\nfalse\\n' | \"$S\" --gpus 0 --joblog log 2>&-;"
        ' echo "status $?"'
    ).ended()
    assert result.out == "out\nstatus 1\n"
    assert len(box.read("log")) == 3


def test_all_but_stdin_closed(box):
    box.shell(
        "printf 'echo kept >> got\\nfalse\\n' | \"$S\" --gpus 0 --joblog log >&- 2>&-;"
        ' echo "status $?" > status'
    ).ended()
    assert box.read("status") == ["status 1"]
    assert (box.read("got"), len(box.read("log"))) == (["kept"], 3)


def test_dry_run_with_stdout_closed(box):
    result = box.shell('echo true | "$S" --gpus 0 --dry-run >&-; echo $? > status').ended()
    assert box.read("status") == ["1"]
    assert result.said[-1] == "error: --dry-run prints to stdout, which is closed"


@pytest.mark.parametrize("source", [".", "/"])
def test_stdin_that_cannot_be_read(box, source):
    result = box.shell(f'"$S" --gpus 0 < {source}; echo "status $?"').ended()
    assert result.out in ("status 1\n", "status 2\n")
    assert "stdin" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("source", [".", "/"])
def test_dry_run_of_what_cannot_be_read(box, source):
    result = box.shell(f'"$S" --gpus 0 --dry-run < {source}; echo "status $?"').ended()
    assert result.out in ("status 1\n", "status 2\n")
    assert "Traceback" not in result.err


def test_stdout_full(box):
    result = box.shell(
        "printf 'echo a || echo could not >> got\\necho rest >> got\\n' | \"$S\" --gpus 0"
        ' > /dev/full; echo "status $?" >&2'
    ).ended()
    assert box.read("got") == ["could not", "rest"]
    assert "status 0" in result.err


def test_stderr_full(box):
    result = box.shell(
        "printf 'echo a\\nfalse\\n' | \"$S\" --gpus 0 --joblog log --bar 2> /dev/full;"
        ' echo "status $?"'
    ).ended()
    assert result.out == "a\nstatus 1\n"
    assert len(box.read("log")) == 3


@pytest.mark.parametrize(
    "options",
    ["--gpus 0,0", "--gpus 0 --timeout x", "--gpus 0 --joblog /no/where", "--gpus 0 --unknown"],
)
def test_a_usage_error_that_cannot_be_told_is_status_2_all_the_same(box, options):
    result = box.shell(f'echo true | "$S" {options} 2> /dev/full; echo "status $?"').ended()
    assert result.out == "status 2\n"


def test_dry_run_with_stdout_full(box):
    result = box.shell('echo true | "$S" --gpus 0 --dry-run > /dev/full; echo "status $?" >&2')
    err = result.ended().err
    assert "status 1" in err
    assert "No space left on device" in err
    assert "Traceback" not in err


def test_dry_run_with_stderr_full(box):
    run = box.shell(
        "printf 'true # sgs: gpus=7\\necho a\\n' | \"$S\" --gpus 0 --dry-run 2> /dev/full;"
        ' echo "status $?"'
    )
    assert run.ended().out == "echo a\nstatus 1\n"


def test_help_into_a_full_disk_leaves_no_traceback(box):
    assert "Traceback" not in box.shell('"$S" --help > /dev/full').ended().err


def start_and_lose_the_reader(box, gate, *options):
    """A job waits at the gate, nobody reads stdout any more, and more jobs would follow."""
    run = box.start("--gpus", "0", *options, stdout=subprocess.PIPE)
    run.write(f"echo 1 >> got; {gate.wait}; echo over >> got\n")
    box.wait_lines("got", 1)
    run.process.stdout.close()
    run.write("".join(f"echo {n} >> got\n" for n in range(2, 10)))
    return run


def test_no_more_jobs_start_once_nobody_reads_stdout(box):
    gate = box.gate()
    run = start_and_lose_the_reader(box, gate, "--joblog", "log")
    gate.open()
    result = run.ended()
    assert result.status == 1
    assert result.said == [
        "error: nobody reads stdout any more; starting no more jobs",
        "7 read but not started",
    ]
    assert box.read("got") == ["1", "over", "2"], "whose line could not be written was on its way"
    assert len(box.read("log")) == 3


def test_running_jobs_end_by_themselves_where_nobody_reads_stdout(box):
    gate = box.gate()
    run = box.start("--gpus", "0,1", stdout=subprocess.PIPE)
    run.write(f"echo 1 >> got; {gate.wait}; echo over >> got\n")
    box.wait_lines("got", 1)
    run.process.stdout.close()
    run.write("true\n")
    run.wait_err("starting no more jobs")
    gate.open()
    assert run.ended().status == 1
    assert box.read("got") == ["1", "over"]


def test_who_writes_nothing_to_stdout_needs_no_reader(box):
    gate = box.gate()
    run = start_and_lose_the_reader(box, gate, "--quiet")
    gate.open()
    result = run.ended()
    assert (result.status, result.said) == (0, [])
    assert box.read("got") == ["1", "over", *map(str, range(2, 10))]


def test_a_reader_of_stdout_that_has_seen_enough_of_an_endless_queue(box):
    run = box.shell(
        'yes "echo a" | "$S" --gpus 0 --joblog log | head -n 2; echo "${PIPESTATUS[1]}" > status'
    )
    result = run.ended()
    assert len(result.processing) >= 1
    assert box.read("status") == ["1"]
    assert result.err.count("nobody reads stdout any more; starting no more jobs") == 1
    assert "Traceback" not in result.err


def test_a_reader_of_stderr_that_went_away_stops_nothing(box):
    run = box.shell(
        'for i in 1 2 3 4 5; do echo "echo $i >> got; exit 3"; done'
        ' | "$S" --gpus 0 2>&1 > /dev/null | head -n 1 > /dev/null; echo "${PIPESTATUS[1]}"'
    )
    assert run.ended().out == "1\n"
    assert box.read("got") == ["1", "2", "3", "4", "5"]


def test_a_message_that_waits_for_its_reader_is_written_whole(box, until):
    """The pipe of stdout is full, and a job ends just then, which interrupts the write."""
    gate = box.gate()
    read_fd, write_fd = os.pipe()
    run = box.start("--gpus", "0,1", stdout=write_fd)
    os.close(write_fd)
    run.write(f"{gate.wait}; echo ended >> got\n")
    command = "echo ran >> got; : " + "x" * 40_000
    run.write(f"{command}1\n")
    box.wait_lines("got", 1)
    run.write(f"{command}2\n")

    def blocked():
        waiting = fcntl.ioctl(read_fd, termios.FIONREAD, b"\0" * 4)
        return int.from_bytes(waiting, "little") >= 60_000 and asleep()

    def asleep():
        with open(f"/proc/{run.pid}/wchan") as file:
            return "pipe" in file.read()

    until(blocked, "stdout is full")
    gate.open()
    box.wait_lines("got", 2)
    run.end_input()
    with open(read_fd, "rb") as reader:
        out = reader.read().decode()
    assert run.ended().status == 0
    messages = [f"Processing command `{command}{n}` on gpu 1" for n in (1, 2)]
    assert out.splitlines()[1:] == messages


def test_outputs_that_do_not_block_lose_no_job(box):
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    run = box.start("--gpus", "0", stdout=write_fd, stderr=write_fd)
    os.close(write_fd)
    run.write(("echo ran >> got; : " + "x" * 10_000 + "\n") * 20)
    box.wait_lines("got", 20)
    assert run.ended().status == 0
    os.close(read_fd)


def test_a_folder_that_is_gone(box):
    run = box.shell('mkdir gone; cd gone; rmdir ../gone; echo "echo ran" | "$S" --gpus 0')
    result = run.ended()
    assert result.out == "ran\n"
    assert "Traceback" not in result.err


def test_an_environment_without_anything(box):
    bare = 'env -i SGS_LEASE_DIR="$SGS_LEASE_DIR"'  # else it would wait for who has GPU 0 now
    result = box.shell(f"echo 'echo ran' | {bare} \"$S\" --gpus 0").ended()
    assert (result.out, result.status) == ("ran\n", 0)
