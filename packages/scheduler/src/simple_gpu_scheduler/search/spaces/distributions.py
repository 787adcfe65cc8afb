"""Parses distributions, which are one value of -p: loguniform:1e-5:1e-1 or int:1:10.

Each becomes `Choices`. With a step or a factor it is finite. Its values are computed when they are
needed, so `int:1:1000000000` takes no memory. Without one it turns a random fraction into a value.
"""

from __future__ import annotations

import math
from decimal import Context, Decimal, InvalidOperation

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.search.spaces.choices import Choices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

FORMS = {
    "uniform": "uniform:LOW:HIGH[:STEP]",
    "loguniform": "loguniform:LOW:HIGH[:FACTOR]",
    "int": "int:LOW:HIGH[:STEP]",
    "logint": "logint:LOW:HIGH[:FACTOR]",
    "normal": "normal:MEAN:SD",
}
MAX_EXPONENT = 300  # within the range of a float
EXACT = Context(prec=2 * MAX_EXPONENT + 400)
POWERS = Context(prec=MAX_EXPONENT + 40)  # exact for whole numbers
ROUNDED = Context(prec=12)


class WholeSteps(Choices):
    """LOW, LOW + STEP, LOW + 2 * STEP ... up to HIGH, in whole numbers."""

    def __init__(self, low: int, high: int, step: int) -> None:
        self.low, self.step = low, step
        self.size = (high - low) // step + 1

    def value_at(self, index: int) -> str:
        """The value at the index."""
        return str(self.low + self.step * index)


class Steps(Choices):
    """LOW, LOW + STEP, LOW + 2 * STEP ... up to HIGH, in exact decimals."""

    def __init__(self, low: Decimal, high: Decimal, step: Decimal) -> None:
        self.low, self.step = low, step
        self.size = int(EXACT.divide_int(EXACT.subtract(high, low), step)) + 1

    def value_at(self, index: int) -> str:
        """The value at the index."""
        return format_number(EXACT.add(self.low, EXACT.multiply(self.step, Decimal(index))))


class Factors(Choices):
    """LOW, LOW * FACTOR, LOW * FACTOR^2 ... up to HIGH."""

    def __init__(
        self, low: Decimal, high: Decimal, factor: Decimal, show: Callable[[Decimal], str]
    ) -> None:
        self.low, self.factor, self.show = low, factor, show
        growth = POWERS.divide(POWERS.ln(POWERS.divide(high, low)), POWERS.ln(factor))
        nearest = int(growth.to_integral_value())
        self.size = nearest + 1 if self.value(nearest) <= high else nearest

    def value(self, index: int) -> Decimal:
        """The number at the index, with more digits than are printed."""
        return POWERS.multiply(self.low, POWERS.power(self.factor, index))

    def value_at(self, index: int) -> str:
        """The value at the index."""
        return self.show(self.value(index))


class Continuous(Choices):
    """All values of `inverse`, the quantile function, for fractions between 0 and 1."""

    size = None

    def __init__(self, inverse: Callable[[float], str]) -> None:
        self.inverse = inverse

    def draw(self, bits: int, width: int) -> str:
        """The value for the fraction bits / 2**width; only its first 52 bits count."""
        return self.inverse(((bits >> (width - 52)) + 0.5) / 2**52)


def parse(parameter: str, text: str) -> Choices:
    """Parse a distribution.

    Args:
        parameter: the name of the parameter, for errors.
        text: the distribution, such as `int:1:10`.

    Raises:
        UsageError: it is malformed, or has no values.
    """
    kind, *fields = text.split(":")
    where = f"-p {parameter} {text}"
    if len(fields) not in ((2,) if kind == "normal" else (2, 3)):
        raise UsageError(f"{where}: expected {FORMS[kind]}, or ={text} for the text itself")
    first, second, *third = (_parse_number(where, kind, field) for field in fields)
    if kind == "normal":
        return _make_normal(where, first, second)
    if first > second:
        raise UsageError(f"{where}: LOW {fields[0]} is above HIGH {fields[1]}")
    if kind in ("int", "logint"):
        for number in (first, second, *third):
            _check_whole(where, number)
    if kind in ("uniform", "int"):
        return _make_linear(where, kind, first, second, *third)
    return _make_logarithmic(where, kind, first, second, *third)


def _parse_number(where: str, kind: str, text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise UsageError(
            f"{where}: {text!r} is not a number; expected {FORMS[kind]}, "
            "or put = before it for the text itself"
        )
    if number and max(number.adjusted(), -int(number.as_tuple().exponent)) > MAX_EXPONENT:
        raise UsageError(f"{where}: {text} is too large or too fine")
    return number


def _check_whole(where: str, number: Decimal) -> None:
    if number != number.to_integral_value(context=EXACT):
        raise UsageError(f"{where}: {number} is not a whole number")


def _make_linear(
    where: str, kind: str, low: Decimal, high: Decimal, step: Decimal | None = None
) -> Choices:
    if step is not None and step <= 0:
        raise UsageError(f"{where}: STEP must be above 0")
    if kind == "int":
        return WholeSteps(int(low), int(high), int(step or 1))
    if step is not None:
        return Steps(low, high, step)
    return _make_continuous(low, high, lambda u: float(low) * (1 - u) + float(high) * u)


def _make_logarithmic(
    where: str, kind: str, low: Decimal, high: Decimal, factor: Decimal | None = None
) -> Choices:
    if low <= 0:
        raise UsageError(f"{where}: LOW must be above 0 on a logarithmic scale")
    if factor is not None:
        if factor <= 1:
            raise UsageError(f"{where}: FACTOR must be above 1")
        return Factors(low, high, factor, format_whole if kind == "logint" else format_rounded)
    start, end = math.log(low), math.log(high)
    if kind == "loguniform":
        return _make_continuous(low, high, lambda u: math.exp(start * (1 - u) + end * u))
    end = math.log(high + 1)  # so that HIGH is drawn as often as its neighbours
    ends = (int(low), int(high))
    return Continuous(lambda u: str(_clip(int(math.exp(start * (1 - u) + end * u)), *ends)))


def _clip(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


def _make_continuous(low: Decimal, high: Decimal, value: Callable[[float], float]) -> Continuous:
    """Numbers with 6 significant digits, or more if the range is narrow; never outside it."""
    digits = _significant_digits(max(abs(low), abs(high)), high - low)

    def inverse(fraction: float) -> str:
        text = format(value(fraction), f".{digits}g")
        if not low <= Decimal(text) <= high:
            text = format_number(low if Decimal(text) < low else high)
        return text

    return Continuous(inverse)


def _make_normal(where: str, mean: Decimal, deviation: Decimal) -> Continuous:
    if deviation <= 0:
        raise UsageError(f"{where}: SD must be above 0")
    from statistics import NormalDist  # slow to import, so only here

    bell = NormalDist(float(mean), float(deviation))
    digits = _significant_digits(abs(mean), deviation)
    return Continuous(lambda u: format(bell.inv_cdf(u), f".{digits}g"))


def _significant_digits(magnitude: Decimal, spread: Decimal) -> int:
    """The number of significant digits that leaves about 6 for the spread."""
    if not spread:
        return 17
    return min(17, max(6, 6 + magnitude.adjusted() - spread.adjusted() - 1))


def format_whole(number: Decimal) -> str:
    """Format a whole number of any size."""
    return str(int(number))


def format_rounded(number: Decimal) -> str:
    """Format with at most 12 significant digits."""
    return format_number(ROUNDED.plus(number))


def format_number(number: Decimal) -> str:
    """Format in the shortest usual form: 0.1, 32, 1e-05, 1.5e+20."""
    if not number:
        return "0"
    if -5 < number.adjusted() < 16:
        text = format(number, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    sign, digits, _ = number.as_tuple()
    significant = "".join(map(str, digits)).rstrip("0")
    mantissa = f"{significant[0]}.{significant[1:]}".rstrip(".")
    return f"{'-' * sign}{mantissa}e{number.adjusted():+03d}"
