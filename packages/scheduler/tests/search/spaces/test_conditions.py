from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.search.spaces.conditions import Condition, number_or_text

VALUES = {
    "lr": "0.01",
    "bs": "32",
    "model": "gpt2",
    "weight-decay": "1e-3",
    "lambda": "5",
    "power": "2",
}


def holds(expression):
    return Condition(expression, list(VALUES)).holds(VALUES)


@pytest.mark.parametrize(
    "expression",
    [
        "bs == 32",
        "lr < 0.1 and bs >= 32",
        "not (bs < 32 or model != 'gpt2')",
        "model in ('gpt2', \"bert\")",
        "bs in [16, 32]",
        "bs in {16, 32}",
        "model not in ['t5']",
        "'gpt' in model",
        "1 < bs <= 32 < 64",
        "lr * bs == 0.32",
        "bs % 5 == 2 and bs // 5 == 6 and bs / 5 > 6 and -bs + 33 == +1",
        "2 ** power == 4",
        "power ** power == power + 2",
        "{weight-decay} == 0.001",
        "{lambda} > 4 and {lr} == lr",
        "model != '{lambda}'",
        "  bs == 32 ",
        "model + '-x' == 'gpt2-x'",
    ],
)
def test_expressions_that_are_true(expression):
    assert holds(expression)
    assert not holds(f"not ({expression})")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", 1), ("-1", -1), ("+1", 1), ("01", 1), ("1.5", 1.5), (".5", 0.5), ("5.", 5.0)]
    + [("1e-3", 0.001), ("1E5", 1e5), ("9" * 5000, float("inf"))]
    + [
        (text, text)
        for text in ("", "x", "nan", "inf", "1_000", "0x10", "1e", " 1", "1 ", "٣", "--1")
    ],
)
def test_what_looks_like_a_number_is_one(value, expected):
    assert number_or_text(value) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_spelling_of_a_float_is_a_number(number):
    assert number_or_text(repr(number)) == number


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("batch > 3", "no parameter is named 'batch'; known are lr, bs, model"),
        ("model == gpt2", "write 'gpt2' in quotes if it is a value"),
        ("weight - decay > 0", "write {weight-decay} for the parameter 'weight-decay'"),
        ("lambda > 3", "is not an expression"),
        ("bs >", "is not an expression"),
        ("", "is not an expression"),
        ("bs = 32", "is not an expression"),
        ("(" * 300 + "1" + ")" * 300, "is not an expression"),
        ("print(bs)", "call is not supported"),
        ("bs.real", "attribute is not supported"),
        ("model[0]", "subscript is not supported"),
        ("lambda_(x)", "call is not supported"),
        ("[x for x in model]", "listcomp is not supported"),
        ("bs if lr else lr", "ifexp is not supported"),
        ("f'{bs}' == '32'", "joinedstr is not supported"),
        ("(y := bs)", "namedexpr is not supported"),
        ("bs is lr", "is is not supported"),
        ("bs & 1", "bitand is not supported"),
        ("bs == '32'", "write 32 without quotes"),
        ("model == True", "True is never a value: write it in quotes"),
        ("model == None", "None is never a value"),
        ("model == b'x'", "never a value"),
    ],
)
def test_what_is_not_supported_is_explained(expression, message):
    with pytest.raises(UsageError) as raised:
        holds(expression)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("model > 3", "model=gpt2"),
        ("bs / (bs - 32) > 1", "bs=32"),
        ("lr ** -200000 > 1", "lr=0.01"),
        ("bs ** bs ** bs > 1", "bs=32"),
        ("model * 10 ** 30 == 1", "model=gpt2"),
        ("10.0 ** 999 == lr", "lr=0.01"),
    ],
)
def test_what_cannot_be_worked_out_shows_the_values(expression, shown):
    with pytest.raises(UsageError, match=f"can't be worked out for '{shown}'"):
        holds(expression)


@pytest.mark.parametrize("expression", ["bs=32", "bs = 32 and lr > 0.1", "{bs}=32"])
def test_a_lone_equals_sign_is_hinted_at(expression):
    with pytest.raises(UsageError, match="is not an expression: to compare, write =="):
        holds(expression)


@given(st.text(alphabet="bslr mode0123456789.+-*/%<>=!()[]{}'\",andornti", max_size=20))
def test_any_text_is_an_answer_or_an_error(expression):
    with suppress(UsageError):
        assert holds(expression) in (True, False)
