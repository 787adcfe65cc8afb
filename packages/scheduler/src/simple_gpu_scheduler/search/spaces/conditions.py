"""The expressions of --exclude: a small, safe part of Python over the parameters' values.

An expression is parsed, checked against a list of harmless syntax, and only then compiled.
"""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from keyword import iskeyword

from simple_gpu_scheduler.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

ALLOWED = (
    *(ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd),
    *(ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow),
    *(ast.Constant, ast.Name, ast.Load, ast.Tuple, ast.List, ast.Set),
)
NUMBER = re.compile(r"[+-]?(\d+|(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?)", re.ASCII)
STRING_OR_BRACED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|\{([^{}]*)\}", re.DOTALL)
LONE_EQUALS = re.compile(r"(?<![=!<>:])=(?!=)")
LARGEST_POWER = 1000
POWER = "**"  # what a ** b calls; no parameter in an expression can have this name


class Condition:
    """One expression of --exclude, ready to be asked about combinations."""

    def __init__(self, expression: str, names: Collection[str]) -> None:
        self.expression = expression
        self.places: dict[str, str] = {}  # a stand-in identifier -> the parameter
        tree = self._parse(names)
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        self.used = {place: self.places.get(place, place) for place in sorted(used)}
        bounded = ast.fix_missing_locations(_BoundPowers().visit(tree))
        self._code = compile(bounded, "--exclude", "eval")

    def holds(self, values: Mapping[str, object]) -> bool:
        """Whether the combination makes the expression true."""
        scope: dict[str, object] = {
            place: number_or_text(str(values[name])) for place, name in self.used.items()
        }
        try:
            return bool(eval(self._code, {"__builtins__": {}, POWER: _power}, scope))
        except (TypeError, ZeroDivisionError, OverflowError, ValueError, MemoryError) as error:
            shown = ", ".join(f"{name}={values[name]}" for name in self.used.values())
            raise UsageError(
                f"--exclude {self.expression!r} can't be worked out for {shown!r}: {error}"
            ) from None

    def _parse(self, names: Collection[str]) -> ast.Expression:
        source = STRING_OR_BRACED.sub(lambda found: self._stand_in(found, names), self.expression)
        try:
            tree = ast.parse(source.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = getattr(error, "msg", None) or str(error)
            advice = "to compare, write ==" if LONE_EQUALS.search(source) else reason
            raise UsageError(
                f"--exclude {self.expression!r} is not an expression: {advice}{_advice(names)}"
            ) from None
        for node in ast.walk(tree):
            self._check(node, names)
        return tree

    def _stand_in(self, found: re.Match[str], names: Collection[str]) -> str:
        """Put an identifier for {NAME}, which may be no identifier itself."""
        name = found.group(1)
        if name is None or name not in names:
            return found.group()
        place = f"_braced_{len(self.places)}"
        self.places[place] = name
        return f" {place} "

    def _check(self, node: ast.AST, names: Collection[str]) -> None:
        if not isinstance(node, ALLOWED):
            raise UsageError(
                f"--exclude {self.expression!r}: {type(node).__name__.lower()} is not supported; "
                "use comparisons, and, or, not, in, arithmetic, parameter names and constants"
            )
        if isinstance(node, ast.Constant):
            self._check_constant(node.value)
        if isinstance(node, ast.Name) and node.id not in names and node.id not in self.places:
            raise UsageError(
                f"--exclude {self.expression!r}: no parameter is named {node.id!r}; known are "
                f"{', '.join(names)}; write {node.id!r} in quotes if it is a value{_advice(names)}"
            )

    def _check_constant(self, value: object) -> None:
        if isinstance(value, str) and isinstance(number_or_text(value), (int, float)):
            advice = f"values that look like numbers are numbers: write {value} without quotes"
        elif isinstance(value, bool) or not isinstance(value, (str, int, float)):
            advice = f"{value!r} is never a value: write it in quotes to compare with the text"
        else:
            return
        raise UsageError(f"--exclude {self.expression!r}: {advice}")


@lru_cache(maxsize=4096)
def number_or_text(value: str) -> int | float | str:
    """The number that the value spells, or the value itself."""
    if NUMBER.fullmatch(value) is None:
        return value
    try:
        return int(value)
    except ValueError:  # a fraction, an exponent, or thousands of digits
        return float(value)


class _BoundPowers(ast.NodeTransformer):
    """Replaces a ** b, which could run for ever, by a call of `_power`."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """Keep every other operator."""
        self.generic_visit(node)
        if not isinstance(node.op, ast.Pow):
            return node
        power = ast.Name(id=POWER, ctx=ast.Load())
        return ast.copy_location(ast.Call(power, [node.left, node.right], []), node)


def _power(base: float, exponent: float) -> object:
    if abs(exponent) > LARGEST_POWER or abs(base) > 10**LARGEST_POWER:
        raise ValueError(f"{base} ** {exponent} is too large")
    return base**exponent


def _advice(names: Collection[str]) -> str:
    odd = next((name for name in names if not name.isidentifier() or iskeyword(name)), None)
    return f"; write {{{odd}}} for the parameter {odd!r}" if odd else ""
