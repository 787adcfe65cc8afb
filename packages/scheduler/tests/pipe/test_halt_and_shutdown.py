from __future__ import annotations

import signal

import pytest

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.pipe.events import Counts
from simple_gpu_scheduler.pipe.halt import Halt, is_reached, parse_halt
from simple_gpu_scheduler.pipe.shutdown import Shutdown
from simple_gpu_scheduler.policy.model import Phase


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("never", None),
        ("0", None),
        ("soon,fail=1", Halt("soon", "fail", 1)),
        ("now,success=3", Halt("now", "success", 3)),
        ("now,done=50%", Halt("now", "done", 50, percent=True)),
        ("1", Halt("soon", "fail", 1)),
        ("2", Halt("now", "fail", 1)),
        ("-1", Halt("soon", "success", 1)),
        ("-2", Halt("now", "success", 1)),
        ("3%", Halt("soon", "fail", 3, percent=True)),
    ],
)
def test_halt_is_read_as_gnu_parallel_does(text: str, expected: Halt | None) -> None:
    assert parse_halt(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "soon", "later,fail=1", "soon,fail", "soon,fail=0", "soon,fail=-1", "now,x=1", "3", "%",
     "now,fail=1%%", "now,fail=" + "9" * 5000, "now,fail=²"],
)  # fmt: skip
def test_what_is_no_halt_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="--halt"):
        parse_halt(text)


def test_a_percentage_is_of_the_jobs_known() -> None:
    rule = Halt("now", "fail", 10, percent=True)
    assert not is_reached(rule, Counts(failed=1), known=11)
    assert is_reached(rule, Counts(failed=1), known=10)
    assert not is_reached(rule, Counts(failed=0), known=0)


def test_done_counts_both_ends() -> None:
    assert is_reached(Halt("soon", "done", 3), Counts(succeeded=2, failed=1), known=9)
    assert not is_reached(Halt("soon", "done", 3), Counts(succeeded=2, skipped=5), known=9)


@pytest.mark.parametrize(
    ("signals", "phase", "status"),
    [
        ([signal.SIGINT], Phase.DRAINING, 130),
        ([signal.SIGHUP], Phase.DRAINING, 129),
        ([signal.SIGINT, signal.SIGINT], Phase.ENDING, 130),
        ([signal.SIGTERM], Phase.ENDING, 143),
        ([signal.SIGQUIT], Phase.ENDING, 131),
        ([signal.SIGQUIT, signal.SIGQUIT], Phase.KILLING, 131),
        ([signal.SIGINT, signal.SIGTERM], Phase.ENDING, 143),
        ([signal.SIGTERM, signal.SIGINT], Phase.KILLING, 130),
        ([signal.SIGINT] * 5, Phase.KILLING, 130),
        ([signal.SIGWINCH, signal.SIGCHLD], Phase.OPEN, 0),
    ],
)
def test_signals_move_the_run_to_its_end(
    signals: list[signal.Signals], phase: Phase, status: int
) -> None:
    ending = Shutdown()
    for number in signals:
        ending.on_signal(number)
    assert ending.phase is phase
    assert ending.exit_status(failed=0) == status


def test_exit_status_of_a_halt() -> None:
    ending = Shutdown(Halt("now", "success", 1))
    assert not ending.check_halt(Counts(failed=2), known=9)
    assert ending.check_halt(Counts(failed=2, succeeded=1), known=9)
    assert not ending.check_halt(Counts(failed=2, succeeded=2), known=9), "it halts only once"
    assert ending.phase is Phase.ENDING
    assert ending.exit_status(failed=2) == 0
    assert Shutdown(Halt("soon", "fail", 1)).exit_status(failed=1) == 1


def test_what_broke_shows_in_the_exit_status() -> None:
    ending = Shutdown()
    assert ending.give_up()
    assert not ending.give_up()
    assert ending.phase is Phase.DRAINING
    assert ending.exit_status(failed=0) == 1
