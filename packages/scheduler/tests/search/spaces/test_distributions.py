from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.search.spaces.distributions import format_number, parse

WIDTH = 64
NUMBERS = st.decimals(
    allow_nan=False, allow_infinity=False, places=6, min_value=-9999, max_value=9999
)
BITS = st.integers(0, 2**WIDTH - 1)


def values(text):
    choices = parse("x", text)
    return [choices.value_at(index) for index in range(choices.size)]


def draw(text, bits):
    return parse("x", text).draw(bits, WIDTH)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("uniform:0.1:0.5:0.1", "0.1 0.2 0.3 0.4 0.5"),
        ("uniform:0:1:0.3", "0 0.3 0.6 0.9"),
        ("uniform:-0.1:0.1:0.1", "-0.1 0 0.1"),
        ("uniform:1e-5:3e-5:1e-5", "1e-05 2e-05 3e-05"),
        ("uniform:7:7:2", "7"),
        ("loguniform:1e-4:1e-1:10", "0.0001 0.001 0.01 0.1"),
        ("loguniform:1:2:1.1", "1 1.1 1.21 1.331 1.4641 1.61051 1.771561 1.9487171"),
        ("loguniform:3:1000:10", "3 30 300"),
        ("int:1:4", "1 2 3 4"),
        ("int:-4:4:4", "-4 0 4"),
        ("int:1:1e1:3", "1 4 7 10"),
        ("logint:16:256:2", "16 32 64 128 256"),
        ("logint:1:100:7", "1 7 49"),
    ],
)
def test_steps_and_factors_are_exact(text, expected):
    assert values(text) == expected.split()


def test_whole_numbers_are_never_shortened():
    assert values("logint:1:2e18:1024")[-1] == str(2**60)
    assert values("int:12345678901234567890:12345678901234567891")[-1] == "12345678901234567891"


def test_a_large_range_costs_nothing():
    choices = parse("x", "int:1:1000000000000")
    assert (choices.size, choices.value_at(10**12 - 1)) == (10**12, str(10**12))


@given(NUMBERS, st.integers(0, 30), st.decimals(min_value="0.001", max_value=100, places=3))
def test_steps_agree_with_exact_arithmetic(low, count, step):
    high = low + count * step
    found = values(f"uniform:{low}:{high}:{step}")
    assert [Decimal(value) for value in found] == [low + k * step for k in range(count + 1)]


@given(st.integers(1, 50), st.integers(2, 10), st.integers(1, 10**6))
def test_factors_stop_at_the_upper_end(low, factor, span):
    found = [int(value) for value in values(f"logint:{low}:{low * span}:{factor}")]
    expected = [low]
    while expected[-1] * factor <= low * span:
        expected.append(expected[-1] * factor)
    assert found == expected


@given(BITS, NUMBERS, NUMBERS)
def test_uniform_draws_stay_between_the_ends(bits, one, other):
    low, high = sorted([one, other])
    assert low <= Decimal(draw(f"uniform:{low}:{high}", bits)) <= high


@pytest.mark.parametrize("text", ["uniform:0:1", "loguniform:1e-5:1e-1"])
@given(bits=BITS)
def test_draws_have_six_significant_digits(text, bits):
    digits = Decimal(draw(text, bits)).as_tuple().digits
    assert len(digits) <= 6


@given(BITS)
def test_a_narrow_range_gets_more_digits(bits):
    found = draw("uniform:1000000:1000001", bits)
    assert Decimal(1000000) <= Decimal(found) <= Decimal(1000001)
    assert len({draw("uniform:1000000:1000001", k << 54) for k in range(100)}) == 100


def test_the_logarithm_of_loguniform_is_even():
    found = [float(draw("loguniform:1e-4:1", k << 62)) for k in range(4)]
    assert found == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1], rel=1e-5)


def test_logint_gives_every_number_its_share():
    counts = {str(k): 0 for k in range(1, 5)}
    for k in range(1000):
        counts[draw("logint:1:4", k * 2**64 // 1000)] += 1
    # P(k) is proportional to log((k + 1) / k)
    assert list(counts.values()) == pytest.approx([431, 252, 179, 139], abs=1)


def test_normal_has_its_quantiles():
    assert float(draw("normal:5:2", 2**63)) == pytest.approx(5, abs=1e-5)
    assert float(draw("normal:0:1", int(0.975 * 2**64))) == pytest.approx(1.95996, abs=1e-4)
    assert draw("normal:0:1", 0) != draw("normal:0:1", 2**64 - 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("uniform:1:0", "LOW 1 is above HIGH 0"),
        ("int:1", "expected int:LOW:HIGH[:STEP], or =int:1 for the text itself"),
        ("int:1:2:3:4", "expected int:LOW:HIGH[:STEP]"),
        ("int:a:b", "'a' is not a number; expected int:LOW:HIGH[:STEP]"),
        ("uniform:nan:1", "'nan' is not a number"),
        ("uniform:0:inf", "'inf' is not a number"),
        ("int:0.5:3", "0.5 is not a whole number"),
        ("logint:1:8:1.5", "1.5 is not a whole number"),
        ("loguniform:0:1", "LOW must be above 0 on a logarithmic scale"),
        ("logint:-1:8", "LOW must be above 0"),
        ("uniform:0:1:0", "STEP must be above 0"),
        ("int:0:1:-1", "STEP must be above 0"),
        ("loguniform:1:2:1", "FACTOR must be above 1"),
        ("normal:0:0", "SD must be above 0"),
        ("normal:0:1:2", "expected normal:MEAN:SD"),
        ("uniform:0:1e999", "1e999 is too large or too fine"),
        ("uniform:0:1:1e-999", "too large or too fine"),
    ],
)
def test_what_cannot_be_is_explained(text, message):
    with pytest.raises(UsageError) as raised:
        parse("lr", text)
    assert str(raised.value).startswith(f"-p lr {text}: ")
    assert message in str(raised.value)


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_plain_spelling_keeps_the_number(number):
    assert Decimal(format_number(number)) == number


@given(st.floats(allow_nan=False, allow_infinity=False).filter(bool))
def test_a_plain_spelling_is_that_of_python(number):
    assert format_number(Decimal(repr(number))) == repr(number).removesuffix(".0")
