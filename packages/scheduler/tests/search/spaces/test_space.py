import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.search.arguments import parse
from simple_gpu_scheduler.search.spaces.space import build, unescape


def space(line):
    return build(parse(["cmd", *(line.split() if isinstance(line, str) else line)]))


def combinations(made):
    return [made.combination(index) for index in range(made.size())]


@given(
    st.lists(
        st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=3),
        min_size=1,
        max_size=4,
    )
)
def test_the_order_is_that_of_nested_loops(lists):
    lists = [[f".{value}" for value in values] for values in lists]
    names = "abcd"[: len(lists)]
    argv = [
        token for name, values in zip(names, lists, strict=True) for token in ("-p", name, *values)
    ]
    expected = [dict(zip(names, values, strict=True)) for values in itertools.product(*lists)]
    assert combinations(space(argv)) == expected


def test_linked_parameters_take_one_step_together_at_the_place_of_the_first():
    made = space("-p a 1 2 -p b x y -p c 3 4 --link c a")
    assert [tuple(one[name] for name in "abc") for one in combinations(made)] == [
        ("1", "x", "3"), ("1", "y", "3"), ("2", "x", "4"), ("2", "y", "4"),
    ]  # fmt: skip


def test_a_finite_distribution_can_be_linked():
    made = space("-p a int:1:3 -p b x y z --link a b")
    assert [one["b"] for one in combinations(made)] == ["x", "y", "z"]


def test_a_space_may_be_larger_than_memory():
    argv = [token for name in "abcdef" for token in ("-p", name, "int:1:1000000")]
    made = space(argv)
    assert made.size() == 10**36
    assert made.combination(10**36 - 1) == dict.fromkeys("abcdef", "1000000")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=int:1:2", "int:1:2"),
        ("==int:1:2", "=int:1:2"),
        ("=normal:", "normal:"),
        ("=--seed", "--seed"),
        ("=-0", "-0"),
        ("=--", "--"),
        ("=5", "=5"),
        ("=", "="),
        ("==", "=="),
        ("=--augment", "=--augment"),
    ],
)
def test_the_escape_is_taken_off_only_where_it_is_needed(value, text):
    assert unescape(value) == text


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("", "no parameters given"),
        ("-p a", "-p a has no values"),
        ("-p a 1 -p a 2", "-p a is given twice"),
        ("-p a 1 int:1:2", "the distribution int:1:2 must be the only value; write =int:1:2"),
        ("-p a 1 2 -p b 1 2 3 --link a b", "a has 2 values but b has 3"),
        ("-p a 1 -p b 1 --link a c", "--link 'c': no such -p; known are a, b"),
        ("-p a 1 --link a a", "--link a: it is linked twice"),
        ("-p a 1 -p b 1 -p c 1 --link a b --link b c", "--link b: it is linked twice"),
        ("-p a 1 --link a", "--link needs two names or more"),
        ("-p a uniform:0:1 -p b 1 --link a b", "--link a: it has no list of values"),
        ("-p a 1 -p b 1 --link a b {a}", "the command comes before --link"),
        ("-p a.b 1", "-p 'a.b': a name can't hold '.'"),
    ],
)
def test_errors(argv, message):
    with pytest.raises(UsageError) as raised:
        space(argv)
    assert message in str(raised.value)
