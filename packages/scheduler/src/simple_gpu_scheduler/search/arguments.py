"""Parses the command line of simple_hypersearch, token by token, into `Options`.

argparse takes `-1e-3` or `--augment` for an option, so it can't pass them as values of `-p`. Here
the values of `-p` and `--link` end only at one of our own options.
"""

from __future__ import annotations

from simple_gpu_scheduler.errors import UsageError

TYPE_CHECKING = False  # the typing module takes longer to import than this one
if TYPE_CHECKING:
    from collections.abc import Sequence

MODES = ("shuffled_grid", "grid", "random", "sobol")

FLAGS = ("-h", "--help", "--version", "--quote", "-0", "--null", "--count")
VALUED = ("--sampling-mode", "--n-samples", "--seed", "--exclude")
LISTS = ("-p", "--parameter", "--link")
OPTIONS = (*FLAGS, *VALUED, *LISTS, "--name")
SHORT_FORMS = {"-h": "--help", "-0": "--null", "-p": "--parameter"}
LONG_OPTIONS = tuple(option for option in OPTIONS if option.startswith("--"))
MIN_LETTERS = len("--") + 3  # of an abbreviated long option
MIN_RATIO = 0.9  # similarity from which a token is a misspelt option
MIN_RATIO_SAME_LETTER = 0.85  # the same, if both begin with the same letter


class Options:
    """The parsed command line. The parts are not checked against each other yet."""

    def __init__(self) -> None:
        self.template: str | None = None
        self.parameters: list[tuple[str, list[str]]] = []
        self.links: list[list[str]] = []
        self.excludes: list[str] = []
        self.mode: str | None = None
        self.n_samples: int | None = None
        self.seed: int | None = None
        self.run_name: str | None = None  # the prefix of run names, often ""; None: no run names
        self.flags: set[str] = set()

    def has(self, flag: str) -> bool:
        """Whether the flag was given; `flag` is its long form."""
        return flag in self.flags

    def wants_help(self) -> bool:
        """Whether to print the help or the version instead of commands."""
        return self.has("--help") or self.has("--version")


def parse_option(token: str) -> tuple[str, str | None] | None:
    """Parse a token as an option; an abbreviation may stand for it.

    Returns:
        The option in its long form, and the text after `=`; None if the token is no option.
    """
    head, equals, inline = token.partition("=")
    if head not in OPTIONS:
        if not head.startswith("--") or len(head) < MIN_LETTERS:
            return None
        candidates = [option for option in OPTIONS if option.startswith(head)]
        if len(candidates) != 1:
            return None
        head = candidates[0]
    return SHORT_FORMS.get(head, head), inline if equals else None


def find_misspelt(token: str) -> str | None:
    """The option that a misspelt token probably means; None if it is an option, or other text."""
    head = token.partition("=")[0]
    if len(head) < MIN_LETTERS or not head.startswith("--") or parse_option(token) is not None:
        return None
    if any(character.isspace() for character in head):
        return None
    normalised = head.lower().replace("_", "-")
    if option_and_text := parse_option(normalised):
        return option_and_text[0]
    from difflib import SequenceMatcher  # only where a value begins with two dashes

    for option in LONG_OPTIONS:
        min_ratio = MIN_RATIO_SAME_LETTER if option[2] == normalised[2] else MIN_RATIO
        if SequenceMatcher(None, normalised, option).ratio() >= min_ratio:
            return option
    return None


def parse(argv: Sequence[str]) -> Options:
    """Parse the arguments, without the name of the program; stop at `--help` or `--version`.

    Raises:
        UsageError: an argument is wrong.
    """
    reader = _Reader(argv)
    while reader.at < len(reader.tokens) and not reader.options.wants_help():
        reader.read_next()
    return reader.options


class _Reader:
    """Reads the tokens one after another into the options."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.tokens = list(argv)
        self.at = 0
        self.options = Options()

    def read_next(self) -> None:
        """Read one option with its values, or the command."""
        token = self.tokens[self.at]
        self.at += 1
        if token == "--":
            while self.at < len(self.tokens):
                self.read_template(self.tokens[self.at])
                self.at += 1
            return
        option_and_text = parse_option(token)
        if option_and_text is None:
            self.read_other(token)
        elif option_and_text[0] in LISTS:
            self.store_list(*option_and_text)
        elif option_and_text[0] in VALUED:
            self.store_value(*option_and_text)
        else:
            self.store_flag(*option_and_text)

    def read_other(self, token: str) -> None:
        """Read a token that is not an option."""
        is_command = any(character.isspace() or character == "{" for character in token)
        if token.startswith("-") and len(token) > 1 and not is_command:
            hint = " (a space comes after -p)" if token.startswith("-p") else ""
            raise UsageError(f"unknown option {token!r}{hint}; see simple_hypersearch --help")
        self.read_template(token)

    def read_template(self, token: str) -> None:
        """Read the command."""
        if self.options.template is not None:
            raise UsageError(
                f"unexpected {token!r} after the command {self.options.template!r}: put the "
                "command in quotes as one argument, and values right after -p NAME"
            )
        self.options.template = token

    def store_flag(self, option: str, inline: str | None) -> None:
        """Store an option without a value; only `--name=PREFIX` may have one."""
        if option == "--name":
            self.options.run_name = inline or ""
        elif inline is not None:
            raise UsageError(f"{option} takes no value, but {option}={inline} was given")
        else:
            self.options.flags.add(option)

    def store_value(self, option: str, inline: str | None) -> None:
        """Store an option with its one value, from after `=` or from the next token."""
        if inline is None:
            if self.at == len(self.tokens):
                raise UsageError(f"{option} needs a value")
            inline = self.tokens[self.at]
            self.at += 1
        if option == "--exclude":
            self.options.excludes.append(inline)
        elif option == "--seed":
            self.options.seed = _parse_whole_number(option, inline)
        elif option == "--n-samples":
            self.options.n_samples = _parse_whole_number(option, inline)
            if self.options.n_samples < 1:
                raise UsageError(f"--n-samples must be 1 or more, not {inline}")
        else:
            self.options.mode = _parse_mode(inline)

    def store_list(self, option: str, inline: str | None) -> None:
        """Store `-p NAME VALUE...` or `--link NAME NAME...`."""
        values = [] if inline is None else [inline]
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            if token == "--" or parse_option(token) is not None:
                break
            if intended := find_misspelt(token):
                where = f"-p {values[0]}" if option == "--parameter" and values else option
                raise UsageError(
                    f"{token!r} after {where}: did you mean {intended}? If it is a value, write "
                    f"{'=' + token!r}"
                )
            values.append(token)
            self.at += 1
        if option == "--link":
            self.options.links.append(values)
        elif not values:
            raise UsageError("-p needs a name and values: -p NAME VALUE...")
        else:
            self.options.parameters.append((values[0], values[1:]))


def _parse_whole_number(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{option} must be a whole number, not {text!r}") from None


def _parse_mode(text: str) -> str:
    if text not in MODES:
        raise UsageError(f"--sampling-mode must be one of {', '.join(MODES)}, not {text!r}")
    return text
