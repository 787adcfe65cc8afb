"""Parses a command with {placeholders}, by the rules of str.format."""

from __future__ import annotations

from simple_gpu_scheduler.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

BRACES_HINT = "write {{ and }} for literal braces"


class Placeholder:
    """One placeholder, and the literal text before it."""

    def __init__(self, literal: str, source: str, name: str, nested: tuple[str, ...]) -> None:
        self.literal = literal
        self.source = source  # such as {lr:>8}
        self.name = name
        self.nested = nested  # names inside the format, such as width in {lr:>{width}}
        self.is_plain = source == f"{{{name}}}"

    def render(self, values: Mapping[str, object]) -> str:
        """The text that replaces the placeholder."""
        try:
            return self.source.format_map(values)
        except (ValueError, TypeError, OverflowError, MemoryError) as error:
            reason = str(error) or "too large"
            value = values[self.name]
            assignment = f"{self.name}={value}"
            hint = " (values are text, not numbers)" if isinstance(value, str) else ""
            raise UsageError(
                f"placeholder {self.source} can't be formatted for {assignment!r}: {reason}{hint}"
            ) from None


class Template:
    """The placeholders of a command in order, and the literal text after the last one."""

    def __init__(self, placeholders: tuple[Placeholder, ...], tail: str) -> None:
        self.placeholders = placeholders
        self.tail = tail
        self.has_nested = any(placeholder.nested for placeholder in placeholders)

    def names(self) -> list[str]:
        """Every name that needs a value, in order of appearance."""
        names: dict[str, None] = {}
        for placeholder in self.placeholders:
            names.update(dict.fromkeys((placeholder.name, *placeholder.nested)))
        return list(names)


def parse(text: str) -> Template:
    """Parse a command.

    Raises:
        UsageError: a brace belongs to no placeholder, or a placeholder is malformed.
    """
    placeholders: list[Placeholder] = []
    literal: list[str] = []
    at = 0
    while at < len(text):
        character = text[at]
        if character not in "{}" or text[at + 1 : at + 2] == character:
            literal.append(character)
            at += 1 if character not in "{}" else 2
        elif character == "}":
            raise _stray_brace_error("}", text, at)
        else:
            end = _find_field_end(text, at)
            placeholders.append(_make_placeholder("".join(literal), text[at:end]))
            literal.clear()
            at = end
    return Template(tuple(placeholders), "".join(literal))


def check_names(template: Template, known: Collection[str]) -> None:
    """Check that every placeholder gets a value.

    Raises:
        UsageError: one does not.
    """
    for name in template.names():
        if name not in known:
            choices = ", ".join(f"{{{known_name}}}" for known_name in known)
            hint = "add --name for run names" if name == "name" else BRACES_HINT
            raise UsageError(
                f"the command has {{{name}}}, but there is no -p {name}; known are {choices}; "
                f"{hint}"
            )


def check_parameter_name(name: str) -> None:
    """Check that a placeholder could have this name.

    Raises:
        UsageError: none could.
    """
    if not name or name.isdecimal():
        raise UsageError(f"-p {name!r}: the name must not be empty or a number")
    for character in ".[{}!:\n":
        if character in name:
            raise UsageError(f"-p {name!r}: a name can't hold {character!r}; use letters and _")


def _find_field_end(text: str, start: int) -> int:
    """The position after the brace that closes the brace at `start`."""
    depth = 0
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at + 1
    raise _stray_brace_error("{", text, start)


def _stray_brace_error(brace: str, text: str, at: int) -> UsageError:
    around = text[max(0, at - 10) : at + 11]
    return UsageError(
        f"single {brace!r} at character {at + 1} of the command, in {around!r}; {BRACES_HINT}"
    )


def _make_placeholder(literal: str, source: str) -> Placeholder:
    inner = source[1:-1]
    cut = min((inner.find(mark) for mark in "!:" if mark in inner), default=len(inner))
    name, rest = inner[:cut], inner[cut:]
    _check_field(source, name)
    spec = _parse_format(source, rest)
    nested = parse(spec).names() if "{" in spec else ()
    return Placeholder(literal, source, name, tuple(nested))


def _check_field(source: str, name: str) -> None:
    if not name or name.isdecimal():
        raise UsageError(
            f"placeholder {source} has no name; write {{NAME}} for a parameter -p NAME, "
            f"or {BRACES_HINT}"
        )
    if "{" in name:
        raise UsageError(f"placeholder {source} has a brace inside its name; {BRACES_HINT}")
    if "." in name or "[" in name:
        raise UsageError(
            f"placeholder {source}: a value has no attributes or items, only {{NAME}} works; "
            f"{BRACES_HINT}"
        )


def _parse_format(source: str, rest: str) -> str:
    """The format after the colon, without a conversion such as !r."""
    if not rest.startswith("!"):
        return rest[1:]
    if rest[1:2] not in ("r", "s", "a") or rest[2:3] not in ("", ":"):
        raise UsageError(
            f"placeholder {source}: after '!' comes r, s or a, then ':' or the end; {BRACES_HINT}"
        )
    return rest[3:]
