"""--results DIR: what each job printed and how it ended, in files."""

import json
import os
import resource
import signal
import subprocess

import pytest

FIELDS = {
    "seq",
    "command",
    "exit_code",
    "signal",
    "timed_out",
    "aborted",
    "attempt",
    "gpus",
    "started",
    "ended",
    "runtime_s",
    "user_s",
    "system_s",
    "max_rss_mib",
    "vram_mib",
    "peak_vram_mib",
    "other_gpus",
}


def _record(box, path):
    return json.loads((box.path / path / "result.json").read_bytes())


def test_files_of_each_job(box):
    lines = ["echo out; echo err >&2", "", "printf '\\377\\000'; exit 3"]
    result = box.run(lines, "--gpus", "0", "--results", "some/deep dir")
    assert (result.status, result.out) == (1, "")
    folder = box.path / "some/deep dir"
    assert sorted(os.listdir(folder)) == ["1", "3"]
    assert sorted(os.listdir(folder / "1")) == ["command", "result.json", "stderr", "stdout"]
    assert (folder / "3/command").read_text() == lines[2] + "\n"
    assert (folder / "1/stdout").read_text() == "out\n"
    assert (folder / "1/stderr").read_text() == "err\n"
    assert (folder / "3/stdout").read_bytes() == b"\xff\0"
    assert result.said == result.err.replace("simple_gpu_scheduler: ", "").splitlines()


def test_the_record_of_a_job(box):
    command = "echo \u00e9 'it''s' \"\\\\\" # $x"
    box.run([command], "--gpus", "GPU-7,b", "--gpus-per-job", "2", "--results", "r")
    record = _record(box, "r/1")
    assert set(record) == FIELDS
    started, ended = record.pop("started"), record.pop("ended")
    assert 0 <= ended - started < 60
    assert abs(record.pop("runtime_s") - (ended - started)) < 0.002
    assert record.pop("max_rss_mib") > 0
    assert all(record.pop(name) >= 0 for name in ("user_s", "system_s"))
    assert record == {
        "seq": 1,
        "command": command,
        "exit_code": 0,
        "signal": None,
        "timed_out": False,
        "aborted": False,
        "attempt": 1,
        "gpus": ["GPU-7", "b"],
        "vram_mib": None,
        "peak_vram_mib": None,
        "other_gpus": [],
    }


@pytest.mark.parametrize(
    ("command", "end"),
    [
        ("exit 3", (3, None, False)),
        ("kill -9 $$", (None, 9, False)),
        ("sleep 100 # sgs: timeout=0.1", (None, 15, True)),
        ("trap 'exit 5' TERM; while :; do sleep 0.01; done # sgs: timeout=0.1", (5, None, True)),
    ],
)
def test_every_kind_of_end(box, command, end):
    assert box.run([command], "--gpus", "0", "--results", "r").status == 1
    record = _record(box, "r/1")
    assert (record["exit_code"], record["signal"], record["timed_out"]) == end


TIDY = "trap 'echo val_loss=1; exit 0' TERM; echo up >> up; while :; do sleep 0.01; done"


@pytest.mark.parametrize(("tidy", "code"), [(TIDY, 0), (TIDY.replace("exit 0", "exit 9"), 9)])
def test_a_job_that_was_ended_early_is_marked_whatever_its_exit_status(box, tidy, code):
    run = box.start("--gpus", "0", "--results", "r", "--grace", "1h")
    run.write(f"{tidy}\n")
    box.wait_lines("up", 1)
    run.send(signal.SIGTERM)
    assert run.ended(end_input=False).status == 143
    record = _record(box, "r/1")
    assert (record["exit_code"], record["signal"], record["aborted"]) == (code, None, True)


def test_a_job_that_halt_ended_early_is_marked(box):
    gate = box.gate()
    run = box.start("--gpus", "0,1", "--results", "r", "--halt", "now,success=1")
    run.write(f"{TIDY}\n{gate.wait}\n")
    box.wait_lines("up", 1)
    gate.open()
    assert run.ended(end_input=False).status == 0
    assert [_record(box, f"r/{seq}")["aborted"] for seq in (1, 2)] == [True, False]


def test_processor_time_and_memory_are_those_of_the_job(box):
    busy = "import time; x = bytearray(80 << 20)\nwhile time.process_time() < 0.2: pass"
    (box.path / "busy.py").write_text(busy)
    box.run(["python3 busy.py", "true"], "--gpus", "0", "--results", "r")
    record = _record(box, "r/1")
    assert record["user_s"] + record["system_s"] >= 0.19
    assert record["max_rss_mib"] >= 80
    assert _record(box, "r/2")["max_rss_mib"] < 40


def test_undecodable_commands(box):
    box.run(b"echo \xff\xfe\n", "--gpus", "0", "--results", "r")
    assert (box.path / "r/1/stdout").read_bytes() == b"\xff\xfe\n"
    assert os.fsencode(_record(box, "r/1")["command"]) == b"echo \xff\xfe"


def test_the_files_grow_while_the_job_runs(box, until):
    gate = box.gate()
    run = box.start("--gpus", "0", "--results", "r")
    run.write(f"echo early; {gate.wait}\n")
    assert box.wait_lines("r/1/stdout", 1) == ["early"]
    assert not (box.path / "r/1/result.json").exists()
    gate.open()
    until((box.path / "r/1/result.json").exists, "the record")
    assert run.ended().status == 0


def test_every_attempt_is_kept(box):
    command = "echo try >> tries; wc -l < tries; [ $(wc -l < tries) = 3 ]"
    box.run([command], "--gpus", "0", "--retries", "5", "--results", "r")
    folders = ["r/1/attempt-1", "r/1/attempt-2", "r/1"]
    assert [box.read(f"{folder}/stdout") for folder in folders] == [["1"], ["2"], ["3"]]
    records = [_record(box, folder) for folder in folders]
    assert [(one["attempt"], one["exit_code"]) for one in records] == [(1, 1), (2, 1), (3, 0)]


def test_files_of_an_earlier_run_are_kept(box):
    for number in range(3):
        box.run([f"echo {number}"], "--gpus", "0", "--results", "r")
    folders = ["r/1/attempt-1", "r/1/attempt-2", "r/1"]
    assert [box.read(f"{folder}/stdout") for folder in folders] == [["0"], ["1"], ["2"]]


def test_outputs_of_a_killed_run_are_kept(box):
    gate = box.gate()
    run = box.start("--gpus", "0", "--results", "r")
    run.write(f"echo precious; {gate.wait}\n")
    box.wait_lines("r/1/stdout", 1)
    run.send(9)
    run.ended(end_input=False)
    box.kill_all()
    box.run(["echo new"], "--gpus", "0", "--results", "r")
    assert box.read("r/1/attempt-1/stdout") == ["precious"]
    assert box.read("r/1/stdout") == ["new"]


def test_a_directory_is_one_schedulers_at_a_time(box):
    gate = box.gate()
    run = box.start("--gpus", "0", "--results", "r")
    run.write(f"{gate.wait}\n")
    run.wait_starts(1)
    result = box.run(["touch ran"], "--gpus", "1", "--results", "r/../r")
    assert result.status == 2
    assert result.said == [
        "error: --results 'r/../r' is in use by another scheduler; name another directory, or "
        "wait until that one has ended"
    ]
    assert not (box.path / "ran").exists()
    assert box.run(["true"], "--gpus", "1", "--results", "other").status == 0
    gate.open()
    assert run.ended().status == 0
    assert box.run(["true"], "--gpus", "1", "--results", "r").status == 0


def test_a_killed_scheduler_leaves_the_directory_free_though_its_jobs_run_on(box):
    gate = box.gate()
    run = box.start("--gpus", "0", "--results", "r")
    run.write(f"echo up >> up; {gate.wait}\n")
    box.wait_lines("up", 1)
    run.send(signal.SIGKILL)
    run.ended(end_input=False)
    assert box.processes() != []
    assert box.run(["true"], "--gpus", "1", "--results", "r").status == 0


def test_files_of_others_in_the_folder_are_left_alone(box):
    (box.path / "r/1").mkdir(parents=True)
    (box.path / "r/1/notes").write_text("mine")
    (box.path / "r/2").write_text("a file")
    (box.path / "r/result.json").write_text("mine")
    result = box.run(["echo a"], "--gpus", "0", "--results", "r")
    assert result.status == 0
    assert (box.path / "r/1/notes").read_text() == "mine"
    assert (box.path / "r/result.json").read_text() == "mine"
    result = box.run(["echo a", "touch ran", "touch later"], "--gpus", "0", "--results", "r")
    assert result.status == 1
    assert "error: line 2: can't be recorded: r/2 is no folder; expected a folder of" in result.err
    assert (box.path / "r/2").read_text() == "a file"
    assert not (box.path / "ran").exists()
    assert (box.path / "later").exists()


def test_a_link_in_place_of_an_output_is_not_followed(box):
    (box.path / "r/1").mkdir(parents=True)
    (box.path / "r/1/stdout").symlink_to("../../victim")
    result = box.run(["echo a"], "--gpus", "0", "--results", "r")
    assert result.status == 0
    assert not (box.path / "victim").exists()
    assert (box.path / "r/1/attempt-1/stdout").is_symlink()
    assert box.read("r/1/stdout") == ["a"]


@pytest.mark.parametrize("path", ["file", "file/below", "/proc/nowhere", ""])
def test_a_folder_that_cannot_be_is_an_error_before_anything_runs(box, path):
    (box.path / "file").write_text("a file")
    result = box.run(["touch ran"], "--gpus", "0", "--results", path)
    assert result.status == 2
    assert f"--results {path!r}" in result.said[0]
    assert not (box.path / "ran").exists()


def test_a_record_that_cannot_be_written_stops_the_run_and_is_told(box):
    """Files may have 1000 bytes, as on a full disk."""
    lines = [f"echo {n} >> ran; : {'x' * 900}" for n in range(1, 6)]
    result = box.run(lines, "--gpus", "0", "--results", "r", limits={resource.RLIMIT_FSIZE: 1000})
    assert result.status == 1
    assert box.read("ran") == ["1"]
    assert "error: --results 'r/1' can't be written: File too large; not recorded is: {" in (
        result.err
    )
    told = result.err.partition("not recorded is: ")[2].partition("}")[0]
    assert json.loads(f"{told}}}")["exit_code"] == 0
    assert "starting no more jobs" in result.err
    assert not (box.path / "r/1/result.json").exists()


@pytest.mark.parametrize("limit", [7, 8, 9, 12, 16])
def test_with_few_descriptors_there_is_a_clear_error_or_none(box, limit):
    options = ["--gpus", "0,1", "--results", "r", "--joblog", "log"]
    result = box.run(["true"] * 6, *options, limits={resource.RLIMIT_NOFILE: limit})
    assert "Traceback" not in result.err
    assert result.status == 0 or "Too many open files" in result.err


@pytest.fixture
def small_disk(box):
    """A file system with room for some pages."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    folder = box.path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0777", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"may not mount here: {done.stderr.strip()}")
    yield folder
    box.kill_all()
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.root
@pytest.mark.parametrize("options", [["--results", "small/r"], ["--joblog", "small/log"]], ids=str)
def test_a_disk_that_fills_up_in_mid_run(box, small_disk, options):
    lines = [f"echo {n} >> ran; : {'x' * 900}" for n in range(1, 201)]
    result = box.run(lines, "--gpus", "0", *options)
    assert result.status == 1
    assert "No space left on device" in result.err or "no space left" in result.err
    assert "starting no more jobs" in result.err
    assert 0 < len(box.read("ran")) < 200
    assert "Traceback" not in result.err


@pytest.mark.root
def test_after_room_was_made_the_log_resumes(box, small_disk, each_once):
    (small_disk / "ballast").write_bytes(b"\0" * 40_000)
    lines = [f"echo {n} >> ran; : {'x' * 900}" for n in range(1, 31)]
    options = ["--gpus", "0", "--joblog", "small/log"]
    assert box.run(lines, *options).status == 1
    ran = list(map(int, box.read("ran")))
    (small_disk / "ballast").unlink()
    assert box.run(lines, *options, "--resume").status == 0
    again = list(map(int, box.read("ran")))[len(ran) :]
    each_once(again, range(ran[-1], 31))
