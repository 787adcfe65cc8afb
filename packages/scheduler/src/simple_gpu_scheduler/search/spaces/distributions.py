"""Distributions written as one value of -p, such as loguniform:1e-5:1e-1 or int:1:10.

Each becomes `Choices`: those with a step or a factor are finite and are computed when asked for,
so `int:1:1000000000` costs nothing; the others turn a random fraction into a value.
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
LARGEST_EXPONENT = 300  # within the range of a float
EXACT = Context(prec=2 * LARGEST_EXPONENT + 400)
POWERS = Context(prec=LARGEST_EXPONENT + 40)  # exact for whole numbers
ROUNDED = Context(prec=12)


class WholeSteps(Choices):
    """LOW, LOW + STEP, LOW + 2 STEP ... up to HIGH, in whole numbers."""

    def __init__(self, low: int, high: int, step: int) -> None:
        self.low, self.step = low, step
        self.size = (high - low) // step + 1

    def at(self, index: int) -> str:
        """The value at the index."""
        return str(self.low + self.step * index)


class Steps(Choices):
    """LOW, LOW + STEP, LOW + 2 STEP ... up to HIGH, in exact decimals."""

    def __init__(self, low: Decimal, high: Decimal, step: Decimal) -> None:
        self.low, self.step = low, step
        self.size = int(EXACT.divide_int(EXACT.subtract(high, low), step)) + 1

    def at(self, index: int) -> str:
        """The value at the index."""
        return plain(EXACT.add(self.low, EXACT.multiply(self.step, Decimal(index))))


class Factors(Choices):
    """LOW, LOW FACTOR, LOW FACTOR^2 ... up to HIGH."""

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

    def at(self, index: int) -> str:
        """The value at the index."""
        return self.show(self.value(index))


class Continuous(Choices):
    """Any number that `inverse`, the quantile function, gives for a fraction above 0, below 1."""

    size = None

    def __init__(self, inverse: Callable[[float], str]) -> None:
        self.inverse = inverse

    def drawn(self, bits: int, width: int) -> str:
        """The value for the fraction bits / 2**width, of which the first 52 bits count."""
        return self.inverse(((bits >> (width - 52)) + 0.5) / 2**52)


def parse(parameter: str, text: str) -> Choices:
    """Read a distribution; parameter is the name to complain about."""
    kind, *fields = text.split(":")
    where = f"-p {parameter} {text}"
    if len(fields) not in ((2,) if kind == "normal" else (2, 3)):
        raise UsageError(f"{where}: expected {FORMS[kind]}, or ={text} for the text itself")
    first, second, *third = (_number(where, kind, field) for field in fields)
    if kind == "normal":
        return _normal(where, first, second)
    if first > second:
        raise UsageError(f"{where}: LOW {fields[0]} is above HIGH {fields[1]}")
    if kind in ("int", "logint"):
        for number in (first, second, *third):
            _check_whole(where, number)
    if kind in ("uniform", "int"):
        return _linear(where, kind, first, second, *third)
    return _logarithmic(where, kind, first, second, *third)


def _number(where: str, kind: str, text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise UsageError(
            f"{where}: {text!r} is not a number; expected {FORMS[kind]}, "
            "or put = before it for the text itself"
        )
    if number and max(number.adjusted(), -int(number.as_tuple().exponent)) > LARGEST_EXPONENT:
        raise UsageError(f"{where}: {text} is too large or too fine")
    return number


def _check_whole(where: str, number: Decimal) -> None:
    if number != number.to_integral_value(context=EXACT):
        raise UsageError(f"{where}: {number} is not a whole number")


def _linear(
    where: str, kind: str, low: Decimal, high: Decimal, step: Decimal | None = None
) -> Choices:
    if step is not None and step <= 0:
        raise UsageError(f"{where}: STEP must be above 0")
    if kind == "int":
        return WholeSteps(int(low), int(high), int(step or 1))
    if step is not None:
        return Steps(low, high, step)
    return _between(low, high, lambda u: float(low) * (1 - u) + float(high) * u)


def _logarithmic(
    where: str, kind: str, low: Decimal, high: Decimal, factor: Decimal | None = None
) -> Choices:
    if low <= 0:
        raise UsageError(f"{where}: LOW must be above 0 on a logarithmic scale")
    if factor is not None:
        if factor <= 1:
            raise UsageError(f"{where}: FACTOR must be above 1")
        return Factors(low, high, factor, whole if kind == "logint" else rounded)
    start, end = math.log(low), math.log(high)
    if kind == "loguniform":
        return _between(low, high, lambda u: math.exp(start * (1 - u) + end * u))
    end = math.log(high + 1)  # so that HIGH has its own share
    ends = (int(low), int(high))
    return Continuous(lambda u: str(_clip(int(math.exp(start * (1 - u) + end * u)), *ends)))


def _clip(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


def _between(low: Decimal, high: Decimal, value: Callable[[float], float]) -> Continuous:
    """Numbers with 6 significant digits, or more in a narrow range, never outside it."""
    digits = _digits(max(abs(low), abs(high)), high - low)

    def inverse(fraction: float) -> str:
        text = format(value(fraction), f".{digits}g")
        if not low <= Decimal(text) <= high:
            text = plain(low if Decimal(text) < low else high)
        return text

    return Continuous(inverse)


def _normal(where: str, mean: Decimal, deviation: Decimal) -> Continuous:
    if deviation <= 0:
        raise UsageError(f"{where}: SD must be above 0")
    from statistics import NormalDist  # slow to import, so only here

    bell = NormalDist(float(mean), float(deviation))
    digits = _digits(abs(mean), deviation)
    return Continuous(lambda u: format(bell.inv_cdf(u), f".{digits}g"))


def _digits(magnitude: Decimal, spread: Decimal) -> int:
    """Significant digits that leave about 6 for the spread."""
    if not spread:
        return 17
    return min(17, max(6, 6 + magnitude.adjusted() - spread.adjusted() - 1))


def whole(number: Decimal) -> str:
    """The spelling of a whole number, whatever its size."""
    return str(int(number))


def rounded(number: Decimal) -> str:
    """The spelling with at most 12 significant digits."""
    return plain(ROUNDED.plus(number))


def plain(number: Decimal) -> str:
    """The shortest usual spelling: 0.1, 32, 1e-05, 1.5e+20."""
    if not number:
        return "0"
    if -5 < number.adjusted() < 16:
        text = format(number, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    sign, digits, _ = number.as_tuple()
    shown = "".join(map(str, digits)).rstrip("0")
    mantissa = f"{shown[0]}.{shown[1:]}".rstrip(".")
    return f"{'-' * sign}{mantissa}e{number.adjusted():+03d}"
