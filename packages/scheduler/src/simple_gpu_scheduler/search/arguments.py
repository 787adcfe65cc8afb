"""The command line of simple_hypersearch, read token by token into `Options`.

argparse takes `-1e-3` or `--augment` for options of its own, so it can't hand every text over as
a value of `-p`. Here the values of `-p` and `--link` go on until the next of our own options.
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
FEWEST_LETTERS = len("--") + 3  # of a long option that is cut short
LIKE, LIKE_ENOUGH = 0.9, 0.85  # how near a misspelt option is; less will do if it begins the same


class Options:
    """What the command line asks for, each part read but not yet checked against the others."""

    def __init__(self) -> None:
        self.pattern: str | None = None
        self.parameters: list[tuple[str, list[str]]] = []
        self.links: list[list[str]] = []
        self.excludes: list[str] = []
        self.mode: str | None = None
        self.n_samples: int | None = None
        self.seed: int | None = None
        self.run_name: str | None = None  # None: not asked for; else the prefix, often ""
        self.flags: set[str] = set()

    def has(self, flag: str) -> bool:
        """Whether the flag, in its long form, was given."""
        return flag in self.flags

    def asks_for_help(self) -> bool:
        """Whether no commands are wanted."""
        return self.has("--help") or self.has("--version")


def option_of(token: str) -> tuple[str, str | None] | None:
    """The option that the token names, in full, and its text after `=`; None for other text."""
    head, equals, inline = token.partition("=")
    if head not in OPTIONS:
        if not head.startswith("--") or len(head) < FEWEST_LETTERS:
            return None
        candidates = [option for option in OPTIONS if option.startswith(head)]
        if len(candidates) != 1:
            return None
        head = candidates[0]
    return SHORT_FORMS.get(head, head), inline if equals else None


def misspelt(token: str) -> str | None:
    """The option that the token seems to be meant for, if it is none but looks much like one."""
    head = token.partition("=")[0]
    if len(head) < FEWEST_LETTERS or not head.startswith("--") or option_of(token) is not None:
        return None
    if any(character.isspace() for character in head):
        return None
    spelt = head.lower().replace("_", "-")
    if found := option_of(spelt):
        return found[0]
    from difflib import SequenceMatcher  # only where a value begins with two dashes

    for option in LONG_OPTIONS:
        enough = LIKE_ENOUGH if option[2] == spelt[2] else LIKE
        if SequenceMatcher(None, spelt, option).ratio() >= enough:
            return option
    return None


def parse(argv: Sequence[str]) -> Options:
    """Read the tokens after the program's name, up to one that asks for help."""
    reader = _Reader(argv)
    while reader.at < len(reader.tokens) and not reader.options.asks_for_help():
        reader.step()
    return reader.options


class _Reader:
    """The tokens, how far they are read, and the options so far."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.tokens = list(argv)
        self.at = 0
        self.options = Options()

    def step(self) -> None:
        """Read one option with what belongs to it, or the command."""
        token = self.tokens[self.at]
        self.at += 1
        if token == "--":
            while self.at < len(self.tokens):
                self.positional(self.tokens[self.at])
                self.at += 1
            return
        found = option_of(token)
        if found is None:
            self.other(token)
        elif found[0] in LISTS:
            self.store_list(*found)
        elif found[0] in VALUED:
            self.store_value(*found)
        else:
            self.store_flag(*found)

    def other(self, token: str) -> None:
        """Take a token that is none of our options."""
        is_command = any(character.isspace() or character == "{" for character in token)
        if token.startswith("-") and len(token) > 1 and not is_command:
            hint = " (a space comes after -p)" if token.startswith("-p") else ""
            raise UsageError(f"unknown option {token!r}{hint}; see simple_hypersearch --help")
        self.positional(token)

    def positional(self, token: str) -> None:
        """Take the command."""
        if self.options.pattern is not None:
            raise UsageError(
                f"unexpected {token!r} after the command {self.options.pattern!r}: put the "
                "command in quotes as one argument, and values right after -p NAME"
            )
        self.options.pattern = token

    def store_flag(self, option: str, inline: str | None) -> None:
        """Note an option that stands alone; `--name=PREFIX` is the one that may hold text."""
        if option == "--name":
            self.options.run_name = inline or ""
        elif inline is not None:
            raise UsageError(f"{option} takes no value, but {option}={inline} was given")
        else:
            self.options.flags.add(option)

    def store_value(self, option: str, inline: str | None) -> None:
        """Note an option with its one value, from after `=` or from the next token."""
        if inline is None:
            if self.at == len(self.tokens):
                raise UsageError(f"{option} needs a value")
            inline = self.tokens[self.at]
            self.at += 1
        if option == "--exclude":
            self.options.excludes.append(inline)
        elif option == "--seed":
            self.options.seed = _whole_number(option, inline)
        elif option == "--n-samples":
            self.options.n_samples = _whole_number(option, inline)
            if self.options.n_samples < 1:
                raise UsageError(f"--n-samples must be 1 or more, not {inline}")
        else:
            self.options.mode = _mode(inline)

    def store_list(self, option: str, inline: str | None) -> None:
        """Note `-p NAME VALUE...` or `--link NAME NAME...`."""
        found = [] if inline is None else [inline]
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            if token == "--" or option_of(token) is not None:
                break
            if meant := misspelt(token):
                where = f"-p {found[0]}" if option == "--parameter" and found else option
                raise UsageError(
                    f"{token!r} after {where}: did you mean {meant}? If it is a value, write "
                    f"{'=' + token!r}"
                )
            found.append(token)
            self.at += 1
        if option == "--link":
            self.options.links.append(found)
        elif not found:
            raise UsageError("-p needs a name and values: -p NAME VALUE...")
        else:
            self.options.parameters.append((found[0], found[1:]))


def _whole_number(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{option} must be a whole number, not {text!r}") from None


def _mode(text: str) -> str:
    if text not in MODES:
        raise UsageError(f"--sampling-mode must be one of {', '.join(MODES)}, not {text!r}")
    return text
