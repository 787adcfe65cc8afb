import json
import math

import pytest

from simple_gpu_scheduler.results.job import JobResult, Record, parse_job, parse_record
from simple_gpu_scheduler.results.parsing import MAX_PAIRS, parse_metrics, parse_parameters


@pytest.mark.parametrize(
    ("output", "metrics"),
    [
        ("", {}),
        ("no numbers here\n", {}),
        ('{"loss": 1}\n{"loss": 2}\n', {"loss": 2}),
        ('{"loss": 1}\ndone, loss=7\n', {"loss": 1}),
        ('{"loss": 1}\n{"loss": 2\n', {"loss": 1}),
        ('{"loss": 1}\n[{"loss": 2}]\n', {"loss": 1}),
        ('progress 10 %\rprogress 99 %\r{"loss": 3}', {"loss": 3}),
        ('  {"loss": 3}  \r\n', {"loss": 3}),
        ('{"a": {"b": {"c": 1}}, "d": 2}', {"a.b.c": 1, "d": 2}),
        ('{"curve": [3, 2, 1], "boxes": [[1], [2]]}', {"curve": [3, 2, 1]}),
        ('{"text": "a\u2028b"}', {"text": "a\u2028b"}),
        ('{"loss": null, "ok": true, "name": "x"}', {"loss": None, "ok": True, "name": "x"}),
        ("{}\n", {}),
        ("loss=0.5 acc=0.75", {"loss": 0.5, "acc": 0.75}),
        ("epoch 1 loss=0.5\nepoch 2 loss=0.25\n", {"loss": 0.25}),
        ("val/loss: 1e-3, val/acc: 93.1%", {"val/loss": 1e-3, "val/acc": 93.1}),
        ("loss = -.5\tsteps = 1_000", {"loss": -0.5}),
        ('{\n  "loss": 0.5,\n  "acc@1": 3\n}\n', {"loss": 0.5, "acc@1": 3}),
        ("{'loss': 0.5, 'acc': 1}", {"loss": 0.5, "acc": 1}),
        ("the final loss: 0.5.", {"loss": 0.5}),
        ("loss: 3.", {"loss": 3.0}),
        ("12:30:45 at http://host:80/ epoch: 3/10 time=3.2s x=1.2.3", {}),
        ("genauigkeit_größe=2", {"genauigkeit_größe": 2}),
        ("n=123456789012345678901", {"n": 123456789012345678901.0}),
    ],
)
def test_metrics_of_an_output(output, metrics):
    assert parse_metrics(output) == metrics


@pytest.mark.parametrize("text", ["loss=nan", "loss: NaN", '{"loss": NaN}'])
def test_nan_is_read(text):
    assert math.isnan(parse_metrics(text)["loss"])


@pytest.mark.parametrize("text", ["loss=inf", "loss=+Infinity", '{"loss": Infinity}'])
def test_infinity_is_read(text):
    assert parse_metrics(text) == {"loss": math.inf}


def test_pairs_are_searched_in_the_end_of_an_output_only():
    output = "early=1\n" + "x" * MAX_PAIRS + "\nlate=2\n"
    assert parse_metrics(output) == {"late": 2}


@pytest.mark.parametrize(
    "output",
    [
        "{" * 60_000 + "}" * 5_000,
        '{"a":' * 60_000 + "1" + "}" * 60_000,
        '{"a": ' + "9" * 60_000 + "}",
        "a" * 65_536,
        "a." * 32_768,
        "a =" * 20_000,
        "a " * 32_768,
        "x=" + "1" * 65_000,
        "1.1." * 16_000,
        "{}x\n" * 16_000,
        "a" + " " * 65_000,
    ],
)
def test_no_output_takes_long_or_raises(output):
    import time

    start = time.process_time()
    parse_metrics(output)
    assert time.process_time() - start < 1


def test_deeply_nested_objects_are_left_out():
    text = json.dumps({"a": {"a": {"a": {"b": 1, "a": {"a": 5}}}}, "c": 1})
    assert parse_metrics(text) == {"a.a.a.b": 1, "c": 1}


@pytest.mark.parametrize(
    ("command", "parameters"),
    [
        ("", {}),
        ("python train.py", {}),
        ("python train.py --lr 0.1 --batch-size=32", {"lr": 0.1, "batch_size": 32}),
        ("CUDA=1 python train.py lr=1e-3", {"CUDA": 1, "lr": 1e-3}),
        ("python train.py +optimizer.lr=0.1 ~x=2", {"optimizer.lr": 0.1, "x": 2}),
        ("train --shift -3 --amp --name run", {"shift": -3, "amp": True, "name": "run"}),
        ("train --amp | tee log", {"amp": True}),
        ("train --amp > log 2>&1; echo", {"amp": True}),
        ("train -b 32 -c code -v", {"b": 32}),
        ("cd x && train --lr 0.1; echo done", {"lr": 0.1}),
        ("train --name 'two words' --q \"it's\"", {"name": "two words", "q": "it's"}),
        ("train --name 'not closed --lr 1", {"name": "'not", "lr": 1}),
        ("train --lr 0.1  # sgs: gpus=2", {"lr": 0.1}),
        ("train --lr 0.1 --lr 0.2", {"lr": 0.2}),
        ("train --empty= --lr 1", {"empty": "", "lr": 1}),
        ("train --note 'a\nb' --schön 1", {"note": "a\nb", "schön": 1}),
        ("a == b; -- --=3 =4", {}),
        ("echo lr=0.1 loss=$(awk 'BEGIN { print 0.1 * 0.1 }')", {"lr": 0.1}),
        ("echo lr=0.1 loss=`cat loss`", {"lr": 0.1}),
        ("train --seed $RANDOM --bs=${BS:-8} --name 'run $1' --lr $((1 + 1))", {}),
        ('train --out "runs/$USER" --lr 0.1', {"lr": 0.1}),
        ("train --lr 0.1 --lr $LR", {}),
        ("train --price 5$ --note 'a $ b'", {"price": "5$", "note": "a $ b"}),
    ],
)
def test_parameters_of_a_command(command, parameters):
    assert parse_parameters(command) == parameters


def record(**values):
    return json.dumps({"exit_code": 0, "signal": None, "timed_out": False} | values)


@pytest.mark.parametrize(
    ("text", "state", "status"),
    [
        (None, "running", "running"),
        (record(), "ok", "ok"),
        (record(attempt=3), "ok", "ok, attempt 3"),
        (record(exit_code=3), "failed", "exit 3"),
        (record(exit_code=None, signal=9), "failed", "killed (SIGKILL)"),
        (record(exit_code=None, signal=99), "failed", "killed (signal 99)"),
        (record(exit_code=None, signal=15, timed_out=True), "failed", "timed out"),
        (record(exit_code=0, timed_out=True), "failed", "timed out"),
        (record(exit_code=0, aborted=True), "ended early", "ended early"),
        (record(signal=15, aborted=True, attempt=2), "ended early", "ended early, attempt 2"),
        (record(exit_code=1, aborted="yes"), "failed", "exit 1"),
        (record(exit_code="0"), "failed", "unknown"),
        (record(exit_code=False), "failed", "unknown"),
        ("", "failed", "broken result.json"),
        ("[1]", "failed", "broken result.json"),
        ('{"exit_code": 0', "failed", "broken result.json"),
    ],
)
def test_how_a_job_ended(text, state, status):
    job = parse_job(1, text, "loss=1")
    assert (job.state, job.status) == (state, status)
    assert job.metrics == {"loss": 1}


def test_a_running_job_has_its_command():
    job = parse_job(1, None, "loss=1", "train --lr 0.1")
    assert job == JobResult(
        1, "running", "running", Record("train --lr 0.1"), {"lr": 0.1}, {"loss": 1}
    )


def test_a_record_with_values_of_wrong_types_is_read_as_far_as_it_goes():
    text = json.dumps(
        {"gpus": "0", "attempt": "2", "runtime_s": "x", "user_s": None, "command": 5}
        | {"max_rss_mib": 10**400, "started": True}
    )
    assert parse_record(text) == Record(started=1.0)
