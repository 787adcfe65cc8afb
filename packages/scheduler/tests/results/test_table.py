import json
import math

import pytest

from simple_gpu_scheduler.results.cells import duration, format_value
from simple_gpu_scheduler.results.job import JobResult, Record
from simple_gpu_scheduler.results.parsing import parse_parameters
from simple_gpu_scheduler.results.ranking import Sort, order
from simple_gpu_scheduler.results.report import notes, to_json
from simple_gpu_scheduler.results.table import columns_by_default, fit, make_columns, render
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.text.terminal import crop, text_width

LOSS = Sort("loss", descending=False)


def job(seq, command="", state="ok", **metrics):
    record = Record(command=command or None, runtime_s=2.0, gpus=("0",))
    status = {"ok": "ok", "failed": "exit 1", "running": "running"}[state]
    return JobResult(seq, state, status, record, parse_parameters(command), metrics)


def table(jobs, sort=LOSS, width=None):
    names, _ = columns_by_default(jobs, sort)
    columns, _ = fit(make_columns(order(jobs, sort), names, sort), width)
    return render(columns, width)


def test_a_table():
    jobs = [
        job(1, "train --lr 0.1 --bs 8", loss=0.51234567, epochs=3),
        job(2, "train --lr 0.01 --bs 8", loss=0.25, epochs=3),
        job(3, "train --lr 10 --bs 8", "failed"),
        JobResult(4, "running", "running"),
    ]
    assert table(jobs) == [
        "rank  job    lr    loss  runtime  gpu  status",
        "   1    2  0.01  0.2500    2.00s    0  ok",
        "   2    1   0.1  0.5123    2.00s    0  ok",
        "   -    3    10       -    2.00s    0  exit 1",
        "   -    4     -       -        -    -  running",
    ]
    assert columns_by_default(jobs, LOSS)[1] == {"bs": 8, "epochs": 3}


def test_columns_parameters_then_the_metric_then_the_rest():
    jobs = [
        job(i, f"train --lr {i} --bs {i}", seconds=i, loss=i, lr=i, other=i) for i in range(1, 4)
    ]
    names, shared = columns_by_default(jobs, LOSS)
    fixed = ["runtime", "gpu", "status"]
    assert names == ["rank", "job", "lr", "bs", "loss", "seconds", "other", *fixed]
    assert shared == {}


def test_the_ranking_column_stays_even_if_it_is_constant():
    jobs = [job(1, loss=1, acc=1), job(2, loss=1, acc=1)]
    names, shared = columns_by_default(jobs, LOSS)
    assert "loss" in names
    assert shared == {"acc": 1}


def test_of_one_job_everything_is_shown():
    names, shared = columns_by_default([job(1, "train --lr 1", loss=1, acc=1)], LOSS)
    assert {"lr", "loss", "acc"} <= set(names)
    assert shared == {}


def test_a_value_that_some_finished_job_lacks_is_not_shared():
    names, shared = columns_by_default([job(1, loss=1, a=1), job(2, loss=2)], LOSS)
    assert "a" in names
    assert shared == {}


def test_curves_are_left_out():
    names, _ = columns_by_default([job(1, loss=1, c=[1, 2]), job(2, loss=2, c=[3])], LOSS)
    assert "c" not in names


def test_built_in_columns_hide_a_jobs_own_values():
    jobs = [job(7, loss=1, status="fine", job=99, rank=5, runtime=9), job(8, loss=2)]
    assert table(jobs) == [
        "rank  job  loss  runtime  gpu  status",
        "   1    7     1    2.00s    0  ok",
        "   2    8     2    2.00s    0  ok",
    ]


def test_without_a_metric_there_is_no_rank():
    assert table([job(1), job(2)], None)[0] == "job  runtime  gpu  status"


def test_a_built_in_column_to_sort_by_is_shown():
    names, _ = columns_by_default([job(1), job(2)], Sort("memory", descending=False))
    assert names == ["rank", "job", "memory", "runtime", "gpu", "status"]


@pytest.mark.parametrize("width", [1, 5, 10, 20, 40, 60, 80, 200])
def test_a_table_fits_the_terminal(width):
    jobs = [
        job(
            i,
            f"train --lr {i} --name '{'long ' * 20}{i}' --漢字 漢字漢字漢字漢字漢字漢字{i}",
            loss=i / 3,
            **{f"metric{k}": i * k / 7 for k in range(20)},
        )
        for i in range(1, 30)
    ]
    lines = table(jobs, width=width)
    assert len(lines) == 30
    assert max(map(text_width, lines)) <= width


def test_what_has_no_room_is_the_least_important():
    jobs = [job(i, f"train --lr {i}", loss=i / 3, aa=i, bb=i) for i in range(1, 4)]
    names, _ = columns_by_default(jobs, LOSS)
    columns = make_columns(jobs, names, LOSS)
    for width, kept, dropped in (
        (80, names, []),
        (48, ["rank", "job", "lr", "loss", "aa", "runtime", "gpu", "status"], ["bb"]),
        (32, ["rank", "job", "lr", "loss", "status"], ["runtime", "gpu", "aa", "bb"]),
        (1, ["rank", "job", "loss", "status"], ["lr", "runtime", "gpu", "aa", "bb"]),
    ):
        stay, went = fit(columns, width)
        assert [c.name for c in stay] == kept
        assert sorted(went) == sorted(dropped)


def test_training_metrics_make_room_for_validation_metrics():
    jobs = [job(i, loss=i / 3, train_acc=i, acc=i, test_acc=i, val_acc=i) for i in range(1, 4)]
    names, _ = columns_by_default(jobs, LOSS)
    columns = make_columns(jobs, names, LOSS)
    _, dropped = fit(columns, 63)
    assert dropped == ["train_acc"]
    _, dropped = fit(columns, 48)
    assert sorted(dropped) == ["acc", "test_acc", "train_acc"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("größe 漢字 🎉", "größe 漢字 🎉"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[31mred\x07\x00\x7f\x9b", "\\x1b[31mred\\x07\\x00\\x7f\\x9b"),
        ("\u202eabc\u2028\ud800\ufeff", "\\u202eabc\\u2028\\ud800\\ufeff"),
    ],
)
def test_text_is_escaped(text, shown):
    assert printable(text) == shown


def test_width_of_text():
    assert text_width("abc") == 3
    assert text_width("漢字") == 4
    assert text_width("e\u0301") == 1
    assert crop("漢字漢字漢字", 8) == "漢字..."
    assert crop("abcdefgh", 5) == "abcde"
    assert crop("abc", 3) == "abc"
    assert crop("abc", 0) == ""


@pytest.mark.parametrize(
    ("value", "short", "text"),
    [
        (None, True, "-"),
        ("", True, "-"),
        (3, False, "3"),
        (True, False, "True"),
        (0.1, True, "0.1"),
        (0.1, False, "0.1000"),
        (0.0, False, "0.0000"),
        (1e-5, False, "1.000e-05"),
        (-1234567.0, False, "-1.235e+06"),
        (math.nan, False, "nan"),
        (-math.inf, False, "-inf"),
        ([1, None, "a\n"], True, "[1,-,a\\n]"),
    ],
)
def test_cells(value, short, text):
    assert format_value(value, short=short) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00s"),
        (9.994, "9.99s"),
        (59.9, "59.9s"),
        (61.5, "1m01s"),
        (3599, "59m59s"),
        (3600, "1h00m"),
        (360_000, "100h00m"),
        (-1.0, "-1.00s"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_notes():
    jobs = [job(1, loss=1), job(2, state="failed"), job(3, state="running")]
    lines = notes(jobs, jobs[:1], Sort("loss", False, guessed=True), {"bs": 8}, ["acc"])
    assert lines == [
        "Best first by loss (lowest first; a guess from its name, --sort METRIC changes it).",
        "3 jobs: 1 ok, 1 failed, 1 running (no result yet); the best 1 are shown.",
        "The same in all jobs: bs=8.",
        "No room for: acc (--columns chooses; a pipe gets all).",
    ]
    assert notes([job(1, speed=1)], [job(1)], None, {}, [])[0] == (
        "In the order of the jobs, because no name is that of a known metric; choose with --sort: "
        "speed."
    )
    assert "none printed a metric" in notes([job(1)], [job(1)], None, {}, [])[0]


def test_json_has_no_nan():
    obj = to_json(job(1, "train --lr nan", loss=math.inf, c=[math.nan, 1]), None)
    text = json.dumps(obj, allow_nan=False)
    assert json.loads(text)["metrics"] == {"loss": None, "c": [None, 1]}
    assert obj["parameters"] == {"lr": None}
