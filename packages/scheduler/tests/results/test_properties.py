import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from profiles import examples
from simple_gpu_scheduler.results.job import JobResult, Record, parse_job
from simple_gpu_scheduler.results.parsing import parse_metrics, parse_parameters
from simple_gpu_scheduler.results.ranking import Sort, choose_sort, is_ranked, order
from simple_gpu_scheduler.results.report import failures, notes, to_json
from simple_gpu_scheduler.results.table import (
    column_names,
    columns_by_default,
    fit,
    make_columns,
    render,
)
from simple_gpu_scheduler.text.printable import printable
from simple_gpu_scheduler.text.terminal import crop, text_width

numbers = st.integers() | st.floats() | st.booleans()
scalars = numbers | st.none() | st.text(max_size=8)
names = st.sampled_from(["loss", "acc", "lr", "x y", "job", "status", "rank"]) | st.text(
    max_size=6
)
values = st.dictionaries(names, scalars | st.lists(scalars, max_size=3), max_size=5)
records = st.builds(
    Record,
    command=st.none() | st.text(),
    gpus=st.lists(st.text(max_size=4), max_size=2).map(tuple),
    runtime_s=st.none() | st.floats(),
    max_rss_mib=st.none() | st.floats(),
)


@st.composite
def job_lists(draw):
    states = draw(st.lists(st.sampled_from(["ok", "failed", "running"]), min_size=1, max_size=8))
    return [
        JobResult(seq, state, state, draw(records), draw(values), draw(values))
        for seq, state in enumerate(states, start=1)
    ]


@given(st.binary())
def test_any_bytes_can_be_an_output_or_a_record(data):
    text = data.decode("utf-8", "replace")
    metrics = parse_metrics(text)
    assert all(isinstance(name, str) for name in metrics)
    parse_job(1, text, text)
    parse_job(1, None, text, text)


pieces = st.sampled_from([*"{}[]\"':=,;.-+0123456789eE \t\r\n#|>ab_é", "nan", "inf", "loss"])


@given(st.lists(pieces).map("".join))
def test_any_text_like_an_output_can_be_one(text):
    for value in parse_metrics(text).values():
        json.dumps(value)
    parse_parameters(text)


@given(st.text(), values)
def test_the_last_json_line_wins(before, data):
    flat = parse_metrics(before + "\n" + json.dumps(data) + "\n")
    assert repr(flat) == repr(json.loads(json.dumps(data)))


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), numbers, max_size=5))
def test_pairs_are_read_back(data):
    data = {name: value for name, value in data.items() if not isinstance(value, bool)}
    for line in (
        " ".join(f"{name}={value!r}" for name, value in data.items()),
        ", ".join(f"{name}: {value!r}" for name, value in data.items()),
        str(data),
    ):
        found = parse_metrics(f"done {line}\n")
        assert list(found) == list(data)
        for name, value in data.items():
            close = math.isclose(found[name], value) or math.isnan(value)
            assert close or found[name] == value


@given(job_lists(), st.sampled_from(["loss", "acc", "lr", "runtime"]), st.booleans(), st.randoms())
def test_the_order_is_total_and_does_not_depend_on_the_input_order(jobs, metric, down, random):
    sort = Sort(metric, down)
    ordered = order(jobs, sort)
    shuffled = list(jobs)
    random.shuffle(shuffled)
    assert [j.seq for j in order(shuffled, sort)] == [j.seq for j in ordered]
    assert sorted(j.seq for j in ordered) == [j.seq for j in jobs]
    ranked = [is_ranked(j, sort) for j in ordered]
    assert ranked == sorted(ranked, reverse=True)
    best = [j.value(metric) for j, r in zip(ordered, ranked, strict=True) if r]
    assert best == sorted(best, reverse=down)
    assert not any(isinstance(v, float) and not math.isfinite(v) for v in best)
    states = [("ok", "failed", "running").index(j.state) for j in ordered]
    assert states == sorted(states)


@settings(max_examples=examples(3))
@given(job_lists(), st.none() | st.integers(1, 120), st.none() | st.booleans())
def test_every_table_has_a_line_a_job_and_fits(jobs, width, down):
    sort = choose_sort(jobs, None, down)
    ordered = order(jobs, sort)
    default, shared = columns_by_default(ordered, sort)
    for chosen in (default, column_names(jobs)):
        columns, dropped = fit(make_columns(ordered, chosen, sort), width)
        lines = render(columns, width)
        assert len(lines) == len(jobs) + 1
        assert all(line.isprintable() for line in lines)
        if width is not None:
            assert max(map(text_width, lines)) <= width
        assert len(columns) + len(dropped) == len(chosen)
    assert all(line.isprintable() for line in notes(jobs, jobs, sort, shared, dropped))
    assert all(line.isprintable() for line in failures(jobs, {1: "\x1b\n"}))
    for job in jobs:
        json.dumps(to_json(job, None), allow_nan=False)


@given(st.text(), st.integers(0, 50))
def test_cropped_text_fits(text, width):
    cropped = crop(printable(text), width)
    assert text_width(cropped) <= width
