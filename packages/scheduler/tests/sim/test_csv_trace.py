"""Traces in files: both forms, and what is awkward about files."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.sim.csv_trace import read
from simple_gpu_scheduler.sim.trace import Task, Trace

OPENB = """\
name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time
a,4000,8192,1,1000,,LS,Running,100,500,100
b,4000,8192,0,0,,LS,Running,110,500,110
c,4000,8192,1,250,V100|T4,BE,Succeeded,130,630,150
d,4000,8192,8,1000,,LS,Failed,90,190,120
e,4000,8192,1,500,,BE,Pending,140,600,
"""


def parse(text: str, form: str = "auto") -> Trace:
    return read(text.splitlines(keepends=True), "t.csv", form, 80_000)


def test_simple_columns() -> None:
    text = "submit_s,runtime_s,gpus,memory_mib\n5,60,2,\n1.5,30,1,4000\n9,1,,\n"
    assert parse(text) == Trace((Task(0, 30, 1, 4000), Task(3.5, 60, 2), Task(7.5, 1)), {})


def test_the_pod_list_of_the_gpu_cluster_trace() -> None:
    assert parse(OPENB).left_out == {"needs no GPU": 1, "never ran": 1}
    assert parse(OPENB, "openb").tasks == (
        Task(0, 70, 8),
        Task(10, 400),
        Task(40, 480, 1, 20_000),
    )


@pytest.mark.parametrize(
    "text",
    [
        'submit_s,runtime_s,name\n"0","60","a, ""b""\nof two lines"\n',
        "submit_s,runtime_s,ünïcode ☃\n0,60,日本\n",
        "\n\nsubmit_s,runtime_s\n\n0,60\n\n\n",
        "submit_s,runtime_s\r\n0,60\r\n",
        " submit_s , runtime_s \n 0 , 60 \n",
        "runtime_s,gpus,submit_s\n60,1\n".replace("60,1\n", "60,1,0\n"),
        "submit_s,runtime_s,gpus\n0,60\n",
        "submit_s,runtime_s\n0,6e1\n",
    ],
    ids=["quotes", "unicode", "blank lines", "crlf", "blanks", "order", "short row", "exponent"],
)
def test_awkward_files_that_are_right(text: str) -> None:
    assert parse(text).tasks == (Task(0, 60),)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "t.csv: the first line names no column submit_s or runtime_s.*got nothing"),
        ("submit_s,gpus\n0,1\n", "no column runtime_s; expected submit_s, runtime_s"),
        ("submit_s,runtime_s\n", "t.csv: has no job to simulate"),
        ("submit_s,runtime_s\n0,-5\n", "t.csv, line 2: runtime_s is '-5'.*at least 0"),
        ("submit_s,runtime_s\n\n-1,5\n", "t.csv, line 3: submit_s is '-1'"),
        ("submit_s,runtime_s\n0,\n", "runtime_s is ''"),
        ("submit_s,runtime_s\n0,nan\n", "runtime_s is 'nan'"),
        ("submit_s,runtime_s\n0,inf\n", "runtime_s is 'inf'"),
        ("submit_s,runtime_s\n0,1e300\n", "runtime_s is '1e300'"),
        ("submit_s,runtime_s\n0,1 h\n", "runtime_s is '1 h'"),
        ("submit_s,runtime_s,gpus\n0,1,1.5\n", "gpus is '1.5', but a whole number"),
        ("submit_s,runtime_s,gpus\n0,1,0\n", r"no job to simulate; left out: 1 \(needs no GPU"),
        ("submit_s,runtime_s\n0,1,2\n", "line 2: has more values than there are columns"),
        ('submit_s,runtime_s\n"0,1\n', "not CSV"),
        ('submit_s,runtime_s\n"0"x,1\n', "after line 1: not CSV"),
        ("creation_time,num_gpu\n", "no column gpu_milli or deletion_time"),
        (OPENB.replace(",630,150", ",130,150"), "deletion_time 130 is before scheduled_time 150"),
        (OPENB.replace(",250,", ",2500,"), "gpu_milli is 2500"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        parse(text)


@given(st.text(max_size=60) | st.text(alphabet='submitruneg_pu,\n"019.-', max_size=60))
def test_any_text_is_a_trace_or_a_clear_error(text: str) -> None:
    for head in ("", "submit_s,runtime_s\n"):
        with contextlib.suppress(UsageError):
            assert parse(head + text).tasks
