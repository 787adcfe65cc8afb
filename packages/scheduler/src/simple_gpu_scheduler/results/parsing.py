"""The named values of a job: its metrics from its output, its parameters from its command.

The metrics are the last line of the output that is a JSON object. If there is none, they are the
`name=number` and `name: number` in its last 4 KiB; of equal names the last.
The parameters are the `--name value`, `--name=value` and `name=value` of the command.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterator
from typing import Any, TypeAlias, TypeGuard

Scalar: TypeAlias = str | int | float | bool | None
Value: TypeAlias = Scalar | list[Scalar]

MAX_COMMAND = 8192  # characters of a command that are searched for parameters
MAX_PAIRS = 4096  # characters at the end of an output that are searched for name=number
MAX_DEPTH = 4  # of objects inside the JSON object that are opened as `outer.inner`

_NUMBER = (
    r"[+-]?(?:(?:[0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,5})?"
    r"|[nN][aA][nN]|[iI][nN][fF](?:[iI][nN][iI][tT][yY])?)"
)
_NUMBER_ALONE = re.compile(_NUMBER)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
# A whole name, `=` or `: `, and a number that ends with the word. Every repetition is bounded, so
# that no output takes long.
_PAIR = re.compile(
    r"(?<![\w./@-])([^\W\d][\w./@-]{0,63})[\"']?[ \t]{0,8}(?:=|:(?=[ \t]))[ \t]{0,8}"
    rf"({_NUMBER})(?=[\s,;:|%)\]}}\"']|\.?(?:\s|\Z))"
)
_ASSIGNMENT = re.compile(r"-{0,2}[+~]{0,2}([^\W\d][\w./-]{0,63})=(.*)", re.DOTALL)
_LONG_OPTION = re.compile(r"--([^\W\d][\w.-]{0,63})")
_SHORT_OPTION = re.compile(r"-([A-Za-z])")
_SHELL_OPERATOR = re.compile(r"[|&;<>()]|\d+[<>]")
_SHELL_EXPANSION = re.compile(r"`|\$[\w({]")


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether the value is a number that can be ordered: not NaN, not infinite."""
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def json_object(text: str) -> dict[str, Any] | None:
    """Read a text as a JSON object; return None if it is not one."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):  # no JSON, or thousands of digits or brackets
        return None
    return data if isinstance(data, dict) else None


# --- Metrics ---------------------------------------------------------------------------------


def parse_metrics(output: str) -> dict[str, Value]:
    """Return what a job printed: its last JSON object, else its `name=number` pairs."""
    data = _last_json_object(output)
    if data is not None:
        return dict(_flatten(data, "", MAX_DEPTH))
    end = output[-MAX_PAIRS:]
    return {name: _number(text) for name, text in dict(_PAIR.findall(end)).items()}


def has_json_line(output: str) -> bool:
    """Return whether a line of the output is a JSON object."""
    return _last_json_object(output) is not None


def _last_json_object(output: str) -> dict[str, Any] | None:
    if "{" not in output:
        return None
    for line in reversed(re.split(r"[\r\n]+", output)):
        stripped = line.strip()
        if stripped.startswith("{") and stripped.endswith("}"):
            data = json_object(stripped)
            if data is not None:
                return data
    return None


def _flatten(data: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Value]]:
    for key, value in data.items():
        if isinstance(value, dict):
            if depth > 1:
                yield from _flatten(value, f"{prefix}{key}.", depth - 1)
            continue
        items = value if isinstance(value, list) else ()
        if not any(isinstance(item, (dict, list)) for item in items):
            yield prefix + key, value


def _number(text: str) -> int | float:
    return int(text) if _INTEGER.fullmatch(text) else float(text)


# --- Parameters ------------------------------------------------------------------------------


def parse_parameters(command: str) -> dict[str, Value]:
    """Return the parameters that a command's words name; dashes in names become underscores.

    A value that the shell computes, by `$(..)`, a backquote or `$NAME`, is no parameter.
    """
    words = _words(command[:MAX_COMMAND])
    parameters: dict[str, Value] = {}
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if word.startswith("#"):  # a comment, such as a directive
            break
        parameters.update(_parse_word(word, following))
    return {name: value for name, value in parameters.items() if not _is_computed(value)}


def _words(command: str) -> list[str]:
    if "'" in command or '"' in command or "\\" in command:
        try:
            return shlex.split(command)
        except ValueError:  # a quote that is not closed
            pass
    return command.split()


def _parse_word(word: str, following: str) -> dict[str, Value]:
    """Return the parameter that a word names, if any; its value may be the next word."""
    if match := _ASSIGNMENT.fullmatch(word):
        return {_parameter_name(match[1]): _parameter(match[2])}
    if match := _LONG_OPTION.fullmatch(word):
        value = _parameter(following) if _is_argument(following) else True
        return {_parameter_name(match[1]): value}
    if (match := _SHORT_OPTION.fullmatch(word)) and _NUMBER_ALONE.fullmatch(following):
        return {match[1]: _number(following)}
    return {}


def _is_argument(word: str) -> bool:
    if not word or word.startswith("#") or _SHELL_OPERATOR.match(word):
        return False
    return not word.startswith("-") or _NUMBER_ALONE.fullmatch(word) is not None


def _is_computed(value: Value) -> bool:
    return isinstance(value, str) and _SHELL_EXPANSION.search(value) is not None


def _parameter_name(name: str) -> str:
    return name.replace("-", "_")


def _parameter(text: str) -> Scalar:
    text = text.rstrip(";")
    return _number(text) if _NUMBER_ALONE.fullmatch(text) else text
