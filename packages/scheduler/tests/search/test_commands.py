"""Searches as a whole, in this process: which commands, in which order, how many."""

import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.search import commands as module
from simple_gpu_scheduler.search.arguments import parse
from simple_gpu_scheduler.search.commands import Search
from simple_gpu_scheduler.search.spaces.space import DISTRIBUTIONS


def search(text, line, *more):
    return Search(parse([text, *line.split(), *more]))


def lines(text, line, *more):
    return "".join(search(text, line, *more).blocks()).splitlines()


GRID = "-p a 1 2 3 -p b x y --sampling-mode grid"


def test_grid_and_its_first_samples():
    expected = ["1x", "1y", "2x", "2y", "3x", "3y"]
    assert lines("{a}{b}", GRID) == expected
    assert lines("{a}{b}", GRID + " --n-samples 4") == expected[:4]
    assert lines("{a}{b}", GRID + " --n-samples 400") == expected


def test_the_default_is_a_shuffled_grid():
    found = lines("{a}", "-p a 1 2 3 4 5 6 --seed 3")
    assert found == ["1", "3", "4", "6", "5", "2"]
    assert lines("{a}", "-p a 1 2 3 4 5 6 --seed 3 --sampling-mode shuffled_grid") == found
    assert lines("{a}", "-p a 1 2 3 4 5 6 --seed 3 --n-samples 2") == found[:2]


@pytest.mark.parametrize("mode", ["grid", "shuffled_grid"])
@pytest.mark.parametrize("more", ["", " --quote", " --n-samples 1500"])
def test_lines_made_one_by_one_equal_those_from_tables(monkeypatch, mode, more):
    line = f"-p a int:1:30 -p b int:1:50 -p c 1 x;y --seed 5 --sampling-mode {mode}{more}"
    quick = search("{a:>3} {b} {c} {a}", line)
    assert quick._can_use_tables()
    found = list(quick.blocks())
    monkeypatch.setattr(module, "MIN_FOR_TABLES", 10**9)
    slow = search("{a:>3} {b} {c} {a}", line)
    assert not slow._can_use_tables()
    assert "".join(found) == "".join(slow.blocks())


@given(st.integers(1, 2000), st.sampled_from(["grid", "shuffled_grid", "random", "sobol"]))
def test_the_count_is_that_of_the_lines(wanted, mode):
    line = f"-p a int:1:40 -p b int:1:30 --sampling-mode {mode} --n-samples {wanted}"
    for more in ((), ("--exclude", "a + b > 30")):
        made = search("{a} {b}", line, *more)
        assert made.count() == len(lines("{a} {b}", line, *more))
    if mode in ("random", "sobol"):
        assert made.count() == wanted


def test_excluded_combinations_do_not_count_as_samples():
    found = lines("{a}{b}", GRID + " --n-samples 3", "--exclude", "a == 1 and b == 'x'")
    assert found == ["1y", "2x", "2y"]
    both = ("--exclude", "a == 1", "--exclude", "b == 'y'")
    assert lines("{a}{b}", GRID, *both) == ["2x", "3x"]


def test_exclusion_keeps_the_order_of_a_shuffle():
    line = "-p a int:1:50 --seed 4"
    kept = [one for one in lines("{a}", line) if int(one) % 3]
    assert lines("{a}", line, "--exclude", "a % 3 == 0") == kept


@pytest.mark.parametrize("mode", ["random", "sobol"])
def test_draws_without_an_end_give_up_when_all_are_excluded(mode):
    line = f"-p a uniform:0:1 --n-samples 3 --sampling-mode {mode}"
    with pytest.raises(SgsError, match="gave up: --exclude excluded the last 100000 draws"):
        lines("{a}", line, "--exclude", "a >= 0")


def test_a_grid_with_everything_excluded_is_an_error_but_not_of_usage():
    with pytest.raises(SgsError, match="leaves nothing") as raised:
        lines("{a}{b}", GRID, "--exclude", "a > 0")
    assert not isinstance(raised.value, UsageError)


def test_a_continuous_parameter_makes_draws_the_default():
    assert search("{a}", "-p a uniform:0:1 --n-samples 2").mode == "random"
    assert search("{a}", "-p a uniform:0:1:0.5").mode == "shuffled_grid"


def test_random_draws_cover_a_list_evenly():
    found = lines("{a}", "-p a 1 2 3 4 --sampling-mode random --n-samples 4000 --seed 1")
    assert all(900 < found.count(value) < 1100 for value in "1234")


def test_random_draws_reach_beyond_64_bits():
    line = f"-p a int:0:{10**30} --sampling-mode random --n-samples 50 --seed 1"
    found = [int(one) for one in lines("{a}", line)]
    assert len({one % 1000 for one in found}) > 40
    assert max(found) > 9 * 10**29


def test_sobol_covers_every_pair_of_lists_once():
    line = (
        "-p a 1 2 3 4 5 6 7 8 -p b a b c d e f g h --sampling-mode sobol --n-samples 64 --seed 9"
    )
    assert len(set(lines("{a}{b}", line))) == 64


@pytest.mark.parametrize("mode", ["random", "sobol"])
def test_linked_parameters_are_drawn_together(mode):
    line = f"-p a 1 2 3 -p b x y z --link a b --sampling-mode {mode} --n-samples 30 --seed 1"
    assert set(lines("{a}{b}", line)) == {"1x", "2y", "3z"}


@pytest.mark.parametrize("mode", ["shuffled_grid", "random", "sobol"])
def test_the_seed_decides(mode):
    line = f"-p a int:1:1000 -p b int:1:1000 --sampling-mode {mode} --n-samples 5 --seed "
    assert lines("{a} {b}", line + "1") == lines("{a} {b}", line + "1")
    assert lines("{a} {b}", line + "1") != lines("{a} {b}", line + "2")


def test_run_names_and_numbers():
    found = lines("{a} {b} {i:02} {name}", GRID + " --name=t --n-samples 3")
    assert found == ["1 x 00 t_a=1_b=x", "1 y 01 t_a=1_b=y", "2 x 02 t_a=2_b=x"]


def test_a_parameter_called_i_or_name_wins():
    assert lines("{i} {name}", "-p i 7 -p name x --name") == ["7 x"]


def test_a_run_name_may_be_the_only_use_of_a_parameter():
    assert lines("{name}", "-p a 1 2 --name --sampling-mode grid") == ["a=1", "a=2"]


def test_numbers_count_what_is_printed():
    found = lines("{i} {a}{b}", GRID, "--exclude", "b == 'x'")
    assert found == ["0 1y", "1 2y", "2 3y"]


def test_a_format_may_take_its_width_from_a_parameter():
    assert lines("{a:>{w}}|", "-p a x -p w 1 3 --sampling-mode grid") == ["x|", "  x|"]


FIELDS = st.sampled_from(["{a}", "{a:*>9}", "{a!r}"])
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(VALUES.filter(lambda value: not value.startswith(("=", *DISTRIBUTIONS))), FIELDS)
def test_quoted_values_come_through_the_shell(value, field):
    options = parse([f"x {field} {{i}}", "-p", "a", "=.", "--quote", "--null"])
    options.parameters = [("a", [value, "."])]
    options.mode = "grid"
    text = next(iter(Search(options).blocks())).removesuffix("\0")
    assert shlex.split(text) == ["x", field.format_map({"a": value}), "0"]


def test_null_ends_commands_and_lets_newlines_through():
    made = Search(parse(["{a}\n", "-p", "a", "x\ny", "z", "-0", "--sampling-mode", "grid"]))
    assert "".join(made.blocks()) == "x\ny\n\0z\n\0"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-p", "a", "1", "2"], "no command given; put it first"),
        (
            ["-p", "lr", "1", "x {lr}"],
            "'x {lr}' was read as a value of -p lr; put the",
        ),
        (["--link", "a", "b", "x {a}"], "was read as a value of --link"),
        (["{a} {b}", "-p", "a", "1"], "there is no -p b; known are {a}, {i}"),
        (["{name}", "-p", "a", "1"], "add --name"),
        (["{a}", "-p", "a", "1", "--name"], "--name was given, but the command has no {name}"),
        (["{a}", "-p", "a", "1", "-p", "b", "2"], "-p b is not used: the command has no {b}"),
        (["{a}", "-p", "a", "x\ny"], "a value of -p a holds a newline"),
        (["{a}\n", "-p", "a", "x"], "the command holds a newline"),
        (["{a}", "-p", "a", "x\ny", "--quote"], "with --null"),
        (
            ["{a}", "-p", "a", "uniform:0:1"],
            "because of -p a; say how many with --n-samples",
        ),
        (["{a}", "-p", "a", "1", "--sampling-mode", "sobol"], "say how many with --n-samples N"),
        (["{a}", "-p", "a", "uniform:0:1", "--sampling-mode", "grid"], "-p a has no finite list"),
        (["{a:d}", "-p", "a", "1"], "placeholder {a:d} can't be formatted for 'a=1'"),
    ],
)
def test_errors(argv, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        list(Search(parse(argv)).blocks())
