"""The expressions of --exclude: a small, safe part of Python over the values of parameters.

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
MAX_POWER = 1000
POWER = "**"  # the name of the function that a ** b calls; it can be no parameter's name


class Condition:
    """One expression of --exclude, compiled."""

    def __init__(self, expression: str, names: Collection[str]) -> None:
        self.expression = expression
        self.stand_ins: dict[str, str] = {}  # the identifier that stands for {NAME} -> NAME
        tree = self._parse(names)
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        self.used = {
            identifier: self.stand_ins.get(identifier, identifier) for identifier in sorted(used)
        }
        bounded = ast.fix_missing_locations(_BoundPowers().visit(tree))
        self._code = compile(bounded, "--exclude", "eval")

    def holds(self, values: Mapping[str, object]) -> bool:
        """Whether the expression is true for the combination.

        Raises:
            UsageError: it can't be evaluated.
        """
        scope: dict[str, object] = {
            identifier: number_or_text(str(values[name])) for identifier, name in self.used.items()
        }
        try:
            return bool(eval(self._code, {"__builtins__": {}, POWER: _power}, scope))
        except (TypeError, ZeroDivisionError, OverflowError, ValueError, MemoryError) as error:
            assignments = ", ".join(f"{name}={values[name]}" for name in self.used.values())
            raise UsageError(
                f"--exclude {self.expression!r} can't be worked out for {assignments!r}: {error}"
            ) from None

    def _parse(self, names: Collection[str]) -> ast.Expression:
        source = STRING_OR_BRACED.sub(lambda match: self._stand_in(match, names), self.expression)
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

    def _stand_in(self, match: re.Match[str], names: Collection[str]) -> str:
        """Replace {NAME} by an identifier, because NAME may be none."""
        name = match.group(1)
        if name is None or name not in names:
            return match.group()
        identifier = f"_braced_{len(self.stand_ins)}"
        self.stand_ins[identifier] = name
        return f" {identifier} "

    def _check(self, node: ast.AST, names: Collection[str]) -> None:
        if not isinstance(node, ALLOWED):
            raise UsageError(
                f"--exclude {self.expression!r}: {type(node).__name__.lower()} is not supported; "
                "use comparisons, and, or, not, in, arithmetic, parameter names and constants"
            )
        if isinstance(node, ast.Constant):
            self._check_constant(node.value)
        if isinstance(node, ast.Name) and node.id not in names and node.id not in self.stand_ins:
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
    """The number that a value stands for; the text itself if it is no number."""
    if NUMBER.fullmatch(value) is None:
        return value
    try:
        return int(value)
    except ValueError:  # a fraction, an exponent, or thousands of digits
        return float(value)


class _BoundPowers(ast.NodeTransformer):
    """Replaces a ** b, which could take forever, by a call of `_power`."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """Replace powers, and keep every other operator."""
        self.generic_visit(node)
        if not isinstance(node.op, ast.Pow):
            return node
        power = ast.Name(id=POWER, ctx=ast.Load())
        return ast.copy_location(ast.Call(power, [node.left, node.right], []), node)


def _power(base: float, exponent: float) -> object:
    if abs(exponent) > MAX_POWER or abs(base) > 10**MAX_POWER:
        raise ValueError(f"{base} ** {exponent} is too large")
    return base**exponent


def _advice(names: Collection[str]) -> str:
    odd = next((name for name in names if not name.isidentifier() or iskeyword(name)), None)
    return f"; write {{{odd}}} for the parameter {odd!r}" if odd else ""
