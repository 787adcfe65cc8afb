"""The whole search: checks the options against each other, and makes the commands."""

from __future__ import annotations

from itertools import islice

from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.search import template
from simple_gpu_scheduler.search.samplers.grid import Grid
from simple_gpu_scheduler.search.spaces import space as spaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from simple_gpu_scheduler.search.arguments import Options
    from simple_gpu_scheduler.search.names import RunNames
    from simple_gpu_scheduler.search.spaces.conditions import Condition
    from simple_gpu_scheduler.search.spaces.space import Space
    from simple_gpu_scheduler.search.template import Placeholder

    Values = Mapping[str, object]

MAX_REJECTED = 100_000  # successive excluded draws before an endless search gives up
REPORT_EVERY = 1000  # excluded combinations
MIN_FOR_TABLES = 1000  # commands


class Search:
    """The commands of one command line."""

    def __init__(self, options: Options) -> None:
        """Check the options.

        Raises:
            UsageError: they contradict each other.
        """
        self.text = _command(options)
        self.template = template.parse(self.text)
        self.space = spaces.build(options)
        self.mode = _mode(options, self.space)
        self.seed = options.seed
        self.limit = _limit(options, self.mode, self.space)
        self.conditions = _conditions(options, self.space)
        self.run_names = _run_names(options, self.space)
        self.end = "\0" if options.has("--null") else "\n"
        self.quote = _quoter() if options.has("--quote") else None
        self._check_names(options)
        if not options.has("--null"):
            _check_newlines(self.text, self.space)

    def count(self) -> int:
        """The number of commands."""
        if not self.conditions:
            return self.limit
        return sum(1 for values in self._trials() if values is not None)

    def blocks(self) -> Iterator[str]:
        """The text of the commands, in blocks of one or more commands.

        An empty block says only that time passes, so that the caller can flush its output.
        """
        if self._can_use_tables():
            grid = Grid(self.space, self.template, self._render, self.end)
            if self.mode == "grid":
                return grid.blocks_in_order(self.limit)
            return grid.blocks_at(islice(self._indices(), self.limit))
        return self._one_by_one()

    def _can_use_tables(self) -> bool:
        """Whether lines can be joined from texts made beforehand, and whether that pays."""
        own = {"i", "name"} - self.space.columns.keys()
        one_value_each = not self.template.has_nested and not own & {*self.template.names()}
        return (
            self.mode in ("grid", "shuffled_grid")
            and not self.conditions
            and one_value_each
            and self.limit >= MIN_FOR_TABLES
        )

    def _one_by_one(self) -> Iterator[str]:
        number = 0
        for values in self._trials():
            if values is None:
                yield ""
            else:
                yield self._line(values, number)
                number += 1

    def _line(self, values: dict[str, object], number: int) -> str:
        run_name = self.run_names.of(values) if self.run_names else ""
        values.setdefault("i", number)
        values.setdefault("name", run_name)
        texts = [
            placeholder.literal + self._render(placeholder, values)
            for placeholder in self.template.placeholders
        ]
        return "".join(texts) + self.template.tail + self.end

    def _render(self, placeholder: Placeholder, values: Values) -> str:
        text = (
            str(values[placeholder.name]) if placeholder.is_plain else placeholder.render(values)
        )
        if self.quote and placeholder.name in self.space.columns:
            return self.quote(text)
        return text

    def _trials(self) -> Iterator[dict[str, object] | None]:
        """The combinations that no condition excludes; sometimes None, as time passes."""
        if not self.conditions:
            yield from islice(self._combinations(), self.limit)
            return
        accepted = rejected = 0
        for values in self._combinations():
            if not any(condition.holds(values) for condition in self.conditions):
                rejected = 0
                accepted += 1
                yield values
                if accepted == self.limit:
                    return
            else:
                rejected += 1
                self._check_rejected(rejected)
                if rejected % REPORT_EVERY == 0:
                    yield None
        if not accepted:
            raise SgsError("--exclude leaves nothing: every combination is excluded")

    def _check_rejected(self, rejected: int) -> None:
        if rejected == MAX_REJECTED and self.mode in ("random", "sobol"):
            raise SgsError(f"gave up: --exclude excluded the last {rejected} draws")

    def _combinations(self) -> Iterator[dict[str, object]]:
        if self.mode in ("grid", "shuffled_grid"):
            return map(self.space.combination, self._indices())
        return self._draws()

    def _indices(self) -> Iterator[int]:
        size = self.space.size()
        if self.mode == "grid":
            return iter(range(size))
        from simple_gpu_scheduler.search.samplers.permutation import permutation

        return permutation(size, self.seed)

    def _draws(self) -> Iterator[dict[str, object]]:
        from simple_gpu_scheduler.search.samplers import draws

        draw = draws.independent if self.mode == "random" else draws.quasi_random
        return draw(self.space, self.seed)

    def _check_names(self, options: Options) -> None:
        used = set(self.template.names())
        names = [*self.space.columns, "i"] + (["name"] if self.run_names else [])
        template.check_names(self.template, names)
        if self.run_names and "name" not in used:
            raise UsageError("--name was given, but the command has no {name}")
        if self.run_names and "name" not in self.space.columns:
            used.update(self.run_names.keys)
        for condition in self.conditions:
            used.update(condition.used.values())
        for name in self.space.columns:
            if name not in used:
                raise UsageError(f"-p {name} is not used: the command has no {{{name}}}")


def _command(options: Options) -> str:
    if options.template is not None:
        return options.template
    lists = [(f"-p {name}", values) for name, values in options.parameters]
    lists += [("--link", names) for names in options.links]
    advice = "put it first: simple_hypersearch 'train.py --lr {lr}' -p lr 0.1 0.01"
    for option, values in lists:
        if values and ("{" in values[-1] or " " in values[-1]):
            advice = f"{values[-1]!r} was read as a value of {option}; put the command first"
    raise UsageError(f"no command given; {advice}")


def _mode(options: Options, space: Space) -> str:
    endless = space.endless()
    mode = options.mode or ("random" if endless else "shuffled_grid")
    if endless and mode in ("grid", "shuffled_grid"):
        raise UsageError(
            f"-p {endless[0]} has no finite list of values for a {mode}: use --sampling-mode "
            "random or sobol, or a distribution with a step or factor"
        )
    return mode


def _limit(options: Options, mode: str, space: Space) -> int:
    """The largest number of commands to print."""
    if mode in ("grid", "shuffled_grid"):
        size = space.size()
        return min(size, options.n_samples or size)
    if options.n_samples is None:
        because = "" if options.mode else f", because of -p {space.endless()[0]}"
        raise UsageError(f"sampling is {mode}{because}; say how many with --n-samples N")
    return options.n_samples


def _conditions(options: Options, space: Space) -> list[Condition]:
    if not options.excludes:
        return []
    # Imported here because it needs ast and re, and few commands do.
    from simple_gpu_scheduler.search.spaces.conditions import Condition

    return [Condition(expression, list(space.columns)) for expression in options.excludes]


def _run_names(options: Options, space: Space) -> RunNames | None:
    if options.run_name is None:
        return None
    from simple_gpu_scheduler.search.names import RunNames

    return RunNames(space, options.run_name)


def _quoter() -> Callable[[str], str]:
    from shlex import quote  # needs re, which few commands do

    return quote


def _check_newlines(text: str, space: Space) -> None:
    """Check that no command has a newline, because readers take each line for a command.

    Raises:
        UsageError: the command or a value has one.
    """
    advice = "a command is one line; end commands by NUL instead with --null"
    if "\n" in text:
        raise UsageError(f"the command holds a newline, but {advice}")
    for name, column in space.columns.items():
        values = getattr(column, "values", ())
        if any("\n" in value for value in values):
            raise UsageError(f"a value of -p {name} holds a newline, but {advice}")
