import math

import pytest

from simple_gpu_scheduler import results_table as rt
from simple_gpu_scheduler.errors import UsageError


def job(seq, state="ok", parameters=None, **metrics):
    status = "exit 1" if state == "failed" else state
    return rt.Job(seq, state, status, parameters=parameters or {}, metrics=metrics)


@pytest.mark.parametrize(
    ("names", "metric", "descending"),
    [
        (["loss"], "loss", False),
        (["accuracy"], "accuracy", True),
        (["train_accuracy", "test_accuracy", "val_accuracy"], "val_accuracy", True),
        (["train_accuracy", "test_accuracy"], "test_accuracy", True),
        (["train_accuracy", "accuracy"], "accuracy", True),
        (["val_loss", "test_accuracy"], "val_loss", False),
        (["loss", "acc"], "acc", True),
        (["valid/mse", "steps"], "valid/mse", False),
        (["bestValAcc", "loss"], "bestValAcc", True),
        (["eval.perplexity"], "eval.perplexity", False),
        (["mean_reward", "std"], "mean_reward", True),
        (["acc@1", "x"], "acc@1", True),
        (["f1_macro"], "f1_macro", True),
        (["neg_log_loss"], "neg_log_loss", True),
        (["loss_weight", "rmse"], "rmse", False),
        (["val_accuracy_top", "val_accuracy"], "val_accuracy", True),
    ],
)
def test_the_metric_is_guessed_from_its_name(names, metric, descending):
    jobs = [job(1, **dict.fromkeys(names, 1.0))]
    assert rt.choose_sort(jobs, None, None) == rt.Sort(metric, descending, guessed=True)


def test_no_guess_without_a_known_name_or_a_number_or_a_success():
    assert rt.guess_metric([job(1, speed=3, loss_scale=2)]) is None
    assert rt.guess_metric([job(1, loss=math.nan, accuracy="high")]) is None
    assert rt.guess_metric([job(1, "failed", loss=1), job(2, "running", loss=1)]) is None


def test_a_parameter_is_no_metric():
    jobs = [job(1, parameters={"score": 1}, score=1, loss=2)]
    assert rt.guess_metric(jobs) == rt.Sort("loss", False, guessed=True)


@pytest.mark.parametrize(
    ("metric", "asked", "descending"),
    [
        ("loss", None, False),
        ("loss", True, True),
        ("acc", None, True),
        ("acc", False, False),
        ("speed", None, True),
        ("train_seconds", None, False),
        ("runtime", None, False),
        ("lr", None, False),
        ("job", None, False),
    ],
)
def test_direction_of_a_named_metric(metric, asked, descending):
    record = rt.Record(runtime_s=1.0)
    values = {"loss": 1, "acc": 1, "speed": 1, "train_seconds": 1}
    jobs = [rt.Job(1, "ok", "ok", record, {"lr": 0.1}, values)]
    assert rt.choose_sort(jobs, metric, asked) == rt.Sort(metric, descending)


def test_a_direction_turns_the_guess():
    assert rt.choose_sort([job(1, loss=1)], None, True) == rt.Sort("loss", True, guessed=True)
    assert rt.choose_sort([job(1, speed=1)], None, True) is None


def test_an_unknown_metric_names_the_known_ones():
    with pytest.raises(UsageError) as info:
        rt.choose_sort([job(1, val_loss=1, name="x")], "val_los", None)
    message = str(info.value)
    assert "unknown metric val_los; did you mean val_loss? Known: val_loss, job" in message
    assert "name" not in message


def test_what_has_no_number_comes_last():
    jobs = [
        job(1, "running", loss=0),
        job(2, "failed", loss=0),
        job(3, loss=math.nan),
        job(4, loss=2),
        job(5, loss=None),
        job(6),
        job(7, loss=-math.inf),
        job(8, loss=1),
        job(9, loss="0"),
        job(10, loss=10**400),
        job(11, loss=1.0),
    ]
    for descending, best in ((False, [8, 11, 4, 10]), (True, [10, 4, 8, 11])):
        sort = rt.Sort("loss", descending)
        ordered = rt.order(reversed(jobs), sort)
        assert [j.seq for j in ordered] == [*best, 3, 5, 6, 7, 9, 2, 1]
        assert [j.seq for j in ordered if rt.is_ranked(j, sort)] == best


def test_without_a_metric_the_jobs_keep_their_order():
    jobs = [job(3), job(1, "running"), job(2), job(4, "failed")]
    assert [j.seq for j in rt.order(jobs, None)] == [2, 3, 4, 1]
