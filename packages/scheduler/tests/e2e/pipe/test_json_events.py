"""--json: events for programs, one object a line."""

import json
import os
import signal
import subprocess

import pytest


def _events(text):
    return [json.loads(line) for line in text.splitlines()]


def _kinds(events):
    return [(one["event"], one.get("seq")) for one in events]


def test_stdout_holds_events_only(box):
    lines = ["echo printed", "exit 3 # \u00e9", "true # sgs: gpus=9", "kill -9 $$"]
    result = box.run(lines, "--gpus", "0", "--json")
    events = _events(result.out)
    assert _kinds(events)[-1] == ("finished", None)
    assert sorted(_kinds(events)[:-1]) == [
        ("ended", 1),
        ("ended", 2),
        ("ended", 4),
        ("rejected", 3),
        ("started", 1),
        ("started", 2),
        ("started", 4),
    ]
    assert "printed\n" in result.err
    assert len(result.processing) == 3
    assert all(isinstance(one["time"], float) for one in events)


def test_what_events_say(box):
    box.run(["true"], "--gpus", "a", "--joblog", "log")
    lines = ["true", "exit 3 # \u00e9", "true # sgs: gpus=9"]
    options = ["--gpus", "a", "--joblog", "log", "--resume", "--json", "--retries", "2"]
    result = box.run(lines, *options)
    events = _events(result.out)
    by_kind = {}
    for one in events:
        by_kind.setdefault(one["event"], []).append(one)
    assert [one["seq"] for one in by_kind["skipped"]] == [1]
    started = by_kind["started"]
    assert [(one["seq"], one["attempt"], one["gpus"]) for one in started] == [
        (2, 1, ["a"]),
        (2, 2, ["a"]),
    ]
    assert all(one["pid"] > 0 and one["command"] == lines[1] for one in started)
    ended = by_kind["ended"]
    assert [(one["exit_code"], one["signal"], one["retry"]) for one in ended] == [
        (3, None, True),
        (3, None, False),
    ]
    assert not ended[0]["timed_out"]
    assert not ended[0]["aborted"]
    assert {"runtime_s", "user_s", "system_s", "max_rss_mib", "started", "ended"} <= set(ended[0])
    (rejected,) = by_kind["rejected"]
    assert "asks for 9 GPUs" in rejected["reason"]
    (finished,) = by_kind["finished"]
    assert finished["exit_status"] == result.status == 1
    assert (finished["succeeded"], finished["failed"], finished["skipped"]) == (0, 2, 1)


def test_a_job_that_was_ended_is_marked(box):
    gate = box.gate()
    run = box.start("--gpus", "0", "--json", "events")
    run.write(f"echo up >> up; {gate.wait}\ntrue\n")
    box.wait_lines("up", 1)
    run.send(signal.SIGTERM)
    run.ended(end_input=False)
    events = _events((box.path / "events").read_text())
    ended = next(one for one in events if one["event"] == "ended")
    assert (ended["aborted"], ended["signal"]) == (True, 15)
    finished = events[-1]
    assert (finished["exit_status"], finished["aborted"], finished["unstarted"]) == (143, 1, 1)


def test_into_a_file_which_is_appended_to(box):
    for _ in range(2):
        result = box.run(["echo printed"], "--gpus", "0", "--json", "events")
        assert result.out == "printed\n"
    events = _events((box.path / "events").read_text())
    assert [one["event"] for one in events] == ["started", "ended", "finished"] * 2


def test_into_a_fifo_event_by_event(box):
    os.mkfifo(box.path / "events")
    run = box.start("--gpus", "0", "--json", "events")
    gate = box.gate()
    with open(box.path / "events") as events:
        run.write(f"{gate.wait}\n")
        assert json.loads(events.readline())["event"] == "started"
        gate.open()
        assert json.loads(events.readline())["event"] == "ended"
        run.end_input()
        assert json.loads(events.readline())["event"] == "finished"
    assert run.ended().status == 0


def test_a_reader_that_goes_away_stops_the_run_but_no_job(box):
    os.mkfifo(box.path / "events")
    run = box.start("--gpus", "0", "--json", "events")
    gate = box.gate()
    with open(box.path / "events") as events:
        run.write(f"{gate.wait}; echo finished >> got\n")
        events.readline()
    gate.open()
    result = run.ended(end_input=False)
    assert result.status == 1
    assert box.read("got") == ["finished"]
    assert "error: --json: the events can't be written: Broken pipe" in result.err


def test_undecodable_bytes_of_a_command_survive(box):
    data = b"echo \xff\x80 \xc3\xa9 \xed\xa0\x80"
    result = box.run(data + b"\n" + data + b" # sgs: gpus=7\n", "--gpus", "0", "--json")
    for one in _events(result.out)[:-1]:
        assert os.fsencode(one["command"]).startswith(data)
    assert result.out_bytes.isascii()


def test_several_lines_and_control_characters(box):
    command = "echo 'a\n\tb\x01\x7f\u2028\"'"
    result = box.run(f"{command}\0", "--gpus", "0", "-0", "--json")
    assert _events(result.out)[0]["command"] == command


def test_leftovers_are_in_the_event(box):
    result = box.run(["sleep 1000 & echo $! >> pids"], "--gpus", "0", "--json")
    ended = next(one for one in _events(result.out) if one["event"] == "ended")
    assert ended["leftover_pids"] == box.wait_pids("pids")


@pytest.mark.parametrize("path", ["no/such/folder/x", ".", ""])
def test_a_file_that_cannot_be_is_an_error_before_anything_runs(box, path):
    result = box.run(["touch ran"], "--gpus", "0", f"--json={path}")
    assert result.status == 2
    assert "--json" in result.said[0]
    assert not (box.path / "ran").exists()


def test_events_that_cannot_be_written_stop_the_run(box):
    gate = box.gate()
    run = box.start("--gpus", "0,1", "--json", "/dev/full")
    run.write(f"echo first >> got; {gate.wait}; echo finished >> got\n")
    run.wait_err("starting no more jobs")
    gate.open()
    result = run.ended()
    assert (result.status, box.read("got")) == (1, ["first", "finished"])
    assert "--json: the events can't be written: No space left on device" in result.err


def test_no_more_start_after_events_could_not_be_written(box):
    lines = [f"echo {n} >> ran" for n in range(5)]
    result = box.run(lines, "--gpus", "0,1,2,3,4", "--json", "/dev/full")
    assert result.status == 1
    assert box.read("ran") == ["0"]


def test_stdout_that_is_closed_by_its_reader(box):
    run = box.shell(
        'yes true | "$S" --gpus 0 --json | head -n 1 > first; echo "${PIPESTATUS[1]}"',
        stderr=subprocess.DEVNULL,
    )
    assert run.ended().out == "1\n"
    assert json.loads(box.read("first")[0])["event"] == "started"


def test_with_results_and_a_log(box):
    result = box.run(["echo a"], "--gpus", "0", "--json", "--results", "r", "--joblog", "log")
    assert [one["event"] for one in _events(result.out)] == ["started", "ended", "finished"]
    assert box.read("r/1/stdout") == ["a"]
    assert len(box.read("log")) == 2
