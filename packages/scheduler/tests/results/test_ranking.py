import math

import pytest

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.results.job import JobResult, Record
from simple_gpu_scheduler.results.parsing import parse_metrics, parse_parameters
from simple_gpu_scheduler.results.ranking import Sort, choose_sort, guess_metric, is_ranked, order


def job(seq, state="ok", parameters=None, **metrics):
    status = "exit 1" if state == "failed" else state
    return JobResult(seq, state, status, parameters=parameters or {}, metrics=metrics)


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
    assert choose_sort(jobs, None, None) == Sort(metric, descending, guessed=True)


def test_no_guess_without_a_known_name_or_a_number_or_a_success():
    assert guess_metric([job(1, speed=3, loss_scale=2)]) is None
    assert guess_metric([job(1, loss=math.nan, accuracy="high")]) is None
    assert guess_metric([job(1, "failed", loss=1), job(2, "running", loss=1)]) is None


def test_a_parameter_that_is_printed_again_is_no_metric():
    jobs = [job(1, parameters={"score": 1}, score=1.0, loss=2)]
    assert guess_metric(jobs) == Sort("loss", False, guessed=True)


@pytest.mark.parametrize("asked", [5, "low", True, None])
def test_a_printed_number_that_is_not_the_parameter_is_a_metric(asked):
    jobs = [job(1, parameters={"score": asked}, score=2, loss=3)]
    assert guess_metric(jobs) == Sort("score", True, guessed=True)


def test_a_metric_that_the_shell_computes():
    """The command names it, but only its output has the number."""
    command = "echo lr={lr} loss=$(awk 'BEGIN {{ print {lr} * {lr} }}')"
    jobs = [
        JobResult(
            seq,
            "ok",
            "ok",
            parameters=parse_parameters(command.format(lr=lr)),
            metrics=parse_metrics(f"lr={lr} loss={lr * lr}\n"),
        )
        for seq, lr in enumerate((0.5, 0.25, 1.5), start=1)
    ]
    sort = choose_sort(jobs, None, None)
    assert sort == Sort("loss", False, guessed=True)
    assert [j.seq for j in order(jobs, sort)] == [2, 1, 3]


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
    record = Record(runtime_s=1.0)
    values = {"loss": 1, "acc": 1, "speed": 1, "train_seconds": 1}
    jobs = [JobResult(1, "ok", "ok", record, {"lr": 0.1}, values)]
    assert choose_sort(jobs, metric, asked) == Sort(metric, descending)


def test_a_direction_turns_the_guess():
    assert choose_sort([job(1, loss=1)], None, True) == Sort("loss", True, guessed=True)
    assert choose_sort([job(1, speed=1)], None, True) is None


def test_an_unknown_metric_names_the_known_ones():
    with pytest.raises(UsageError) as info:
        choose_sort([job(1, val_loss=1, name="x")], "val_los", None)
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
        sort = Sort("loss", descending)
        ordered = order(reversed(jobs), sort)
        assert [j.seq for j in ordered] == [*best, 3, 5, 6, 7, 9, 2, 1]
        assert [j.seq for j in ordered if is_ranked(j, sort)] == best


def test_without_a_metric_the_jobs_keep_their_order():
    jobs = [job(3), job(1, "running"), job(2), job(4, "failed")]
    assert [j.seq for j in order(jobs, None)] == [2, 3, 4, 1]
