"""`sgs results`, the installed command."""

import fcntl
import json
import os
import pty
import resource
import signal
import struct
import subprocess
import termios
import time

import pytest

from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.results.writer import ResultsDir

AWKWARD = [
    "python 'my train.py' --name \"it's\"",
    "printf 'a\nb\n' && python t.py",
    "python t.py --name größe --漢字 🎉",
    "python t.py \x1b[2J\x1b]0;title\x07 \u202e \x00",
    'echo "not closed --lr 1 | $HOME `x` \\',
    "",
]


def awkward_sweep(results):
    for seq, command in enumerate(AWKWARD, start=1):
        results.add(seq, f'{{"val_loss": {seq}}}\n', command=command)


def test_a_table(sgs, results):
    results.add(1, "epoch 1\n", command="train --lr 10", exit_code=1, stderr="a\nbad lr\n")
    results.add(2, '{"acc": 0.5}\n', command="train --lr 1")
    results.add(3, '{"acc": 0.75}\n', command="train --lr 0.1", gpus=["1"])
    results.add(10, "acc=0.1\n", running=True)
    (results.path / "3" / "attempt-1").mkdir()
    for name in ("notes.txt", "007", "0", "x1"):
        (results.path / name).mkdir()
    done = sgs("results", results.path)
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout == (
        "rank  job   lr   acc  runtime  gpu  status\n"
        "   1    3  0.1  0.75    2.00s    1  ok\n"
        "   2    2    1   0.5    2.00s    0  ok\n"
        "   -    1   10     -    2.00s    0  exit 1\n"
        "   -   10    -   0.1        -    -  running\n"
        "\n"
        "Best first by acc (highest first; a guess from its name, --sort METRIC changes it).\n"
        "4 jobs: 2 ok, 1 failed, 1 running (no result yet).\n"
        "\n"
        "job 1, exit 1: train --lr 10\n"
        "    bad lr\n"
    )


def test_a_job_that_was_ended_early_has_no_rank(sgs, results):
    results.add(1, "val_loss=0.1", command="t --lr 1", aborted=True)
    results.add(2, "val_loss=0.5", command="t --lr 2")
    results.add(3, "val_loss=0.9", command="t --lr 3", exit_code=1)
    done = sgs("results", results.path, "--columns", "rank,job,val_loss,status")
    assert done.stdout.split("\n\n")[0].splitlines()[1:] == [
        "   1    2       0.5  ok",
        "   -    3       0.9  exit 1",
        "   -    1       0.1  ended early",
    ]
    assert "3 jobs: 1 ok, 1 failed, 1 ended early.\n" in done.stdout
    objects = json.loads(sgs("results", results.path, "--json").stdout)
    assert [(o["rank"], o["state"], o["aborted"]) for o in objects] == [
        (1, "ok", False),
        (None, "failed", False),
        (None, "ended early", True),
    ]


def test_sort_top_and_columns(sgs, results):
    for seq in range(1, 6):
        results.add(seq, f'{{"acc": {seq}, "speed": {seq % 3}}}', command=f"t --lr {seq}")
    results.add(6, "", exit_code=1)

    def jobs(*options):
        done = sgs("results", results.path, "--columns", "job,lr", *options)
        assert done.returncode == 0
        table, _ = done.stdout.split("\n\n", 1)
        header, *rows = table.splitlines()
        assert header.split() == ["job", "lr"]
        return [int(row.split()[0]) for row in rows]

    assert jobs() == [5, 4, 3, 2, 1, 6]
    assert jobs("--ascending") == [1, 2, 3, 4, 5, 6]
    assert jobs("--sort", "speed") == [2, 5, 1, 4, 3, 6]
    assert jobs("--sort=lr", "--descending", "--top", "2") == [5, 4]
    assert jobs("--sort", "job", "--top", "99") == [1, 2, 3, 4, 5]


def test_json(sgs, results):
    results.add(1, '{"loss": NaN, "curve": [1, 2]}', command="t --lr 1")
    results.add(2, '{"loss": 0.5}', command="t --lr 2")
    results.add(3, "", running=True)
    objects = json.loads(sgs("results", results.path, "--json").stdout)
    assert [(o["rank"], o["job"], o["state"]) for o in objects] == [
        (1, 2, "ok"),
        (None, 1, "ok"),
        (None, 3, "running"),
    ]
    assert objects[0]["metrics"] == {"loss": 0.5}
    assert objects[0]["parameters"] == {"lr": 2}
    assert objects[0]["runtime_s"] == 2.0
    assert objects[1]["metrics"] == {"loss": None, "curve": [1, 2]}
    best = json.loads(sgs("results", results.path, "--json", "--top", "1").stdout)
    assert best == objects[:1]


def test_running_jobs_show_what_was_asked_of_them(sgs, results):
    results.add(1, '{"loss": 0.5}', command="train --lr 1")
    results.add(2, "", command="train --lr 0.1", running=True)
    (results.path / "2" / "stdout").unlink()  # it has only just started
    results.add(3, "", command="train --lr 0.01", running=True)
    (results.path / "3" / "command").unlink()  # as earlier versions left it
    results.add(4, "", command="two\nlines \udcff\n", running=True)
    results.add(5, "", command="", running=True)
    done = sgs("results", results.path, "--columns", "job,lr,status,command")
    assert done.stderr == ""
    assert done.stdout.split("\n\n")[0].splitlines() == [
        "job   lr  status   command",
        "  1    1  ok       train --lr 1",
        "  2  0.1  running  train --lr 0.1",
        "  3    -  running  -",
        "  4    -  running  two\\nlines \\udcff\\n",
        "  5    -  running  -",
    ]
    objects = json.loads(sgs("results", results.path, "--json").stdout)
    assert [o["command"] for o in objects[1:]] == [
        "train --lr 0.1",
        None,
        "two\nlines \udcff\n",
        "",
    ]
    assert objects[1]["parameters"] == {"lr": 0.1}


def test_jobs_without_a_result_are_lost_once_their_scheduler_is_gone(sgs, results):
    results.add(1, '{"loss": 0.5}', command="train --lr 1")
    results.add(2, '{"loss": 0.1}', command="train --lr 2", running=True)
    assert "2 jobs: 1 ok, 1 running (no result yet).\n" in sgs("results", results.path).stdout
    results.abandon()
    done = sgs("results", results.path, "--columns", "rank,job,status")
    assert done.stdout.split("\n\n")[0].splitlines()[1:] == ["   1    1  ok", "   -    2  lost"]
    assert "2 jobs: 1 ok, 1 lost (no result, and their scheduler is gone).\n" in done.stdout


def test_a_command_file_that_cannot_be_read(sgs, results):
    for seq in (1, 2, 3):
        results.add(seq, "loss=1", running=True)
        (results.path / str(seq) / "command").unlink()
    os.mkfifo(results.path / "1" / "command")
    (results.path / "2" / "command").mkdir()
    (results.path / "3" / "command").symlink_to("command")
    objects = json.loads(sgs("results", results.path, "--json").stdout)
    assert [(o["state"], o["command"]) for o in objects] == [("running", None)] * 3


def test_a_second_attempt_that_runs_has_its_command_and_keeps_the_first(sgs, tmp_path):
    """In the directory that the scheduler itself makes."""
    written, folder = ResultsDir(str(tmp_path / "runs")), tmp_path / "runs" / "1"
    asked = Job(1, b"train --lr 0.1 \xff")
    for attempt in (1, 2):
        for descriptor in written.open(asked._replace(attempt=attempt)):
            os.close(descriptor)
        if attempt == 1:
            (folder / "result.json").write_text('{"exit_code": 1, "attempt": 1}')
    (running,) = json.loads(sgs("results", tmp_path / "runs", "--json").stdout)
    assert (running["state"], running["status"]) == ("running", "running")
    assert running["command"] == "train --lr 0.1 \udcff"
    assert running["parameters"] == {"lr": 0.1}
    first = folder / "attempt-1"
    assert (first / "command").read_bytes() == asked.command + b"\n"
    assert (first / "result.json").exists()


def test_what_a_shell_computed_is_ranked(sgs, tmp_path):
    """The jobs run in a real shell, and the table is by what they computed."""
    commands = "".join(f"echo lr={lr} loss=$(({lr} * {lr}))\n" for lr in (2, -1, 3))
    run = [sgs.script, "run", "--gpus", "0", "--results", tmp_path / "runs"]
    subprocess.run(run, input=commands, capture_output=True, text=True, check=True)
    done = sgs("results", tmp_path / "runs", "--columns", "rank,lr,loss")
    assert done.stdout.splitlines()[:4] == [
        "rank  lr  loss",
        "   1  -1     1",
        "   2   2     4",
        "   3   3     9",
    ]
    assert "Best first by loss (lowest first" in done.stdout


def test_awkward_commands_do_not_break_the_table(sgs, results):
    awkward_sweep(results)
    done = sgs("results", results.path, "--columns", "job,command")
    lines = done.stdout.splitlines()
    assert lines[1].split(maxsplit=1) == ["1", AWKWARD[0]]
    assert lines[2].split(maxsplit=1) == ["2", "printf 'a\\nb\\n' && python t.py"]
    assert lines[4].split(maxsplit=1)[1] == (
        "python t.py \\x1b[2J\\x1b]0;title\\x07 \\u202e \\x00"
    )
    assert lines[6].split() == ["6", "-"]
    assert all(line.isprintable() for line in lines)
    commands = [o["command"] for o in json.loads(sgs("results", results.path, "--json").stdout)]
    assert commands == AWKWARD


def test_a_stdout_that_is_not_utf8(sgs, results):
    awkward_sweep(results)
    environment = sgs.environment | {"PYTHONIOENCODING": "ascii"}
    done = sgs("results", results.path, "--columns", "command", env=environment)
    assert done.returncode == 0
    assert "gr\\xf6\\xdfe" in done.stdout


def test_a_directory_with_an_awkward_name(sgs, results, tmp_path):
    results.add(1, "loss=1")
    name = os.fsencode(tmp_path) + b"/new\nline \xff"
    results.path.rename(os.fsdecode(name))
    assert subprocess.run([sgs.script, b"results", name], check=False).returncode == 0
    done = sgs("results", os.fsdecode(name) + "x")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_broken_files_do_not_stop_the_table(sgs, results):
    results.add(1, b"\xff\xfe\x00 loss=0.5\n{\xc3\x28\n")
    results.add(2, '{"loss": 0.25}', raw_record=b"\xff\x00 not json")
    results.add(3, '{"loss": 0.125}', raw_record=b"[" * 100_000)
    results.add(4, '{"loss": 3}')
    (results.path / "4" / "stdout").unlink()
    results.add(5, "loss=2")
    (results.path / "5" / "stdout").unlink()
    os.mkfifo(results.path / "5" / "stdout")
    (results.path / "6" / "result.json").mkdir(parents=True)
    (results.path / "7").write_text("a file")
    done = sgs("results", results.path, "--columns", "job,loss,status")
    assert done.stderr == ""
    rows = [line.split(maxsplit=2) for line in done.stdout.split("\n\n")[0].splitlines()[1:]]
    assert rows == [
        ["1", "0.5", "ok"],
        ["4", "-", "ok"],
        ["5", "-", "ok"],
        ["2", "0.25", "broken result.json"],
        ["3", "0.125", "broken result.json"],
        ["6", "-", "broken result.json"],
    ]


def test_only_the_end_of_a_long_output_is_read(sgs, results):
    results.add(1, "x" * 100_000 + "\n" + '{"loss": 1, "lr": 2}\n')
    results.add(2, '{"loss": 2}\n' + "y" * 30_000 + "\n")
    results.add(3, '{"loss": 3}\n' + "z" * 70_000 + "\n")
    results.add(4, '{"cut": "' + "c" * 100_000 + '", "loss": 4}\n')
    with (results.path / "3" / "stdout").open("r+b") as file:
        file.truncate(50 * 2**30)  # sparse: 50 GiB
    objects = json.loads(sgs("results", results.path, "--json", "--sort", "loss").stdout)
    found = {o["job"]: o["metrics"] for o in objects}
    assert found == {1: {"loss": 1, "lr": 2}, 2: {"loss": 2}, 3: {}, 4: {}}


def test_no_such_directory(sgs, tmp_path):
    done = sgs("results", tmp_path / "none")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"sgs: error: can't read the results in {tmp_path}/none: No such file or directory\n"
    )
    (tmp_path / "file").touch()
    assert "Not a directory" in sgs("results", tmp_path / "file").stderr


def test_a_directory_without_results_suggests_one(sgs, results, tmp_path):
    done = sgs("results", results.path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"sgs: error: no results in {results.path}: expected folders 1")
    results.add(1, "loss=1")
    done = sgs("results", tmp_path)
    assert done.returncode == 1
    assert f"did you mean {results.path}?" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sort", "los"], "unknown metric los; did you mean loss? Known: loss, "),
        (["--columns", "los"], "unknown column los; did you mean loss? Known: rank, "),
        (["--columns", ","], "argument --columns: expected names separated by commas"),
        (["--top", "0"], "argument --top: expected a whole number of at least 1, got '0'"),
        (["--top", "\u0663"], "argument --top: expected a whole number of at least 1"),
        (["--ascending", "--descending"], "argument --descending: not allowed with"),
        (["--json", "--columns", "a"], "argument --columns: not allowed with"),
        (["--nosuch"], "unrecognized arguments: --nosuch"),
        (["--asc"], "unrecognized arguments: --asc"),
    ],
)
def test_wrong_usage(sgs, results, options, message):
    results.add(1, "loss=1")
    done = sgs("results", results.path, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"sgs: error: {message}")
    assert done.stderr.count("\n") == 1


def test_no_metric_is_said(sgs, results):
    results.add(1, "nothing")
    done = sgs("results", results.path)
    assert done.returncode == 0
    assert "none printed a metric" in done.stdout
    results.add(2, "speed=3")
    said = sgs("results", results.path).stdout
    assert "because no name is that of a known metric; choose with --sort: speed." in said


def test_why_a_known_metric_is_not_the_order_is_said(sgs, results):
    results.add(1, "val_loss=0.5", command="t --lr 1", exit_code=1)
    results.add(2, "nothing", command="t --lr 2")
    said = sgs("results", results.path).stdout
    assert "because no job that is ok has a number for val_loss; choose with" in said
    results.add(3, "loss=1", command="echo loss=1")
    said = sgs("results", results.path).stdout
    assert "because loss stands in the commands with the same value, so it is a para" in said


def test_many_failures_are_counted(sgs, results):
    for seq in range(1, 9):
        results.add(seq, "", exit_code=1, stderr=f"error {seq}\n\n")
    done = sgs("results", results.path)
    assert "    error 5\nand 3 more failed jobs\n" in done.stdout
    assert "error 6" not in done.stdout


def on_a_terminal(command, columns):
    """Run a command with its stdout on a terminal of that width; return what it wrote."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    with subprocess.Popen(command, stdout=follower, env=environment) as process:
        os.close(follower)
        data = b""
        while True:
            try:
                chunk = os.read(leader, 65536)
            except OSError:  # EIO: the other end is closed
                break
            if not chunk:
                break
            data += chunk
    os.close(leader)
    assert process.returncode == 0
    return data.decode().replace("\r\n", "\n")


def test_the_table_fits_the_terminal(sgs, results):
    for seq in range(1, 5):
        metrics = {f"metric_{i}": seq * i / 7 for i in range(30)} | {"val_loss": seq / 3}
        results.add(seq, json.dumps(metrics), command=f"t --lr {seq} --name {'n' * 60}{seq}")
    results.add(5, "", exit_code=1, command="c" * 500, stderr="e" * 500)
    text = on_a_terminal([sgs.script, "results", results.path], 60)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 60
    assert "No room for: " in text
    assert "val_loss" in lines[0]
    assert "status" in lines[0]
    assert "metric_29" in sgs("results", results.path).stdout.splitlines()[0]


def test_head_ends_it_quietly(sgs, results):
    for seq in range(1, 2001):
        results.add(seq, f"loss={seq}")
    command = f"set -o pipefail; '{sgs.script}' results '{results.path}' | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("rank")
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert done.returncode in (0, 141)


def test_a_full_disk_is_an_error(sgs, results):
    results.add(1, "loss=1")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sgs.script, "results", results.path],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "sgs: error: [Errno 28] No space left on device\n"


def test_a_closed_stdout(sgs, results):
    results.add(1, "loss=1")
    done = subprocess.run(
        ["sh", "-c", '"$0" results "$1" >&-', sgs.script, results.path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("sgs: error: stdout is closed")


def test_ctrl_c_ends_it_quietly(sgs, results):
    for seq in range(1, 3001):
        results.add(seq, "loss=0.1 acc=0.2\n" * 200)
    with subprocess.Popen(
        [sgs.script, "results", results.path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 30
        while not reads_jobs(process.pid, results.path):
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "")


def reads_jobs(pid, directory):
    """True if the process has a file of the directory open right now."""
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{name}").startswith(str(directory)):
                return True
        except OSError:
            pass
    return False


def test_ten_thousand_jobs_take_seconds_and_little_memory(sgs, results):
    for seq in range(1, 10_001):
        output = f'step\n{{"lr": {seq}, "val_loss": {seq % 97}, "acc": 0.5}}\n'
        results.add(seq, output, command=f"python train.py --lr {seq}")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = sgs("results", results.path, "--top", "3")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0
    assert [line.split()[1] for line in done.stdout.splitlines()[1:4]] == ["97", "194", "291"]
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < 5  # about 1 s; generous for a busy machine
