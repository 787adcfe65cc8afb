"""The whole search: options checked against each other, and the commands that come of them."""

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
    from simple_gpu_scheduler.search.template import Part

    Values = Mapping[str, object]

MOST_REJECTED = 100_000  # draws in a row, before a search without end gives up
NEWS_EVERY = 1000  # rejected combinations
FEWEST_FOR_TABLES = 1000


class Search:
    """The commands of one command line."""

    def __init__(self, options: Options) -> None:
        self.text = _command(options)
        self.pattern = template.parse(self.text)
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
        """How many commands there are."""
        if not self.conditions:
            return self.limit
        return sum(1 for values in self._accepted() if values is not None)

    def blocks(self) -> Iterator[str]:
        """The commands' text, in blocks of one or more; an empty block is time that passes."""
        if self._has_tables():
            grid = Grid(self.space, self.pattern, self._render, self.end)
            if self.mode == "grid":
                return grid.ordered(self.limit)
            return grid.picked(islice(self._indices(), self.limit))
        return self._one_by_one()

    def _has_tables(self) -> bool:
        """Whether the lines may, and are worth to, be put together from ready-made parts."""
        own = {"i", "name"} - self.space.columns.keys()
        each_from_one_value = not self.pattern.has_nested and not own & {*self.pattern.names()}
        return (
            self.mode in ("grid", "shuffled_grid")
            and not self.conditions
            and each_from_one_value
            and self.limit >= FEWEST_FOR_TABLES
        )

    def _one_by_one(self) -> Iterator[str]:
        number = 0
        for values in self._accepted():
            if values is None:
                yield ""
            else:
                yield self._line(values, number)
                number += 1

    def _line(self, values: dict[str, object], number: int) -> str:
        run_name = self.run_names.of(values) if self.run_names else ""
        values.setdefault("i", number)
        values.setdefault("name", run_name)
        pieces = [piece.literal + self._render(piece, values) for piece in self.pattern.pieces]
        return "".join(pieces) + self.pattern.tail + self.end

    def _render(self, piece: Part, values: Values) -> str:
        text = str(values[piece.name]) if piece.is_plain else piece.render(values)
        if self.quote and piece.name in self.space.columns:
            return self.quote(text)
        return text

    def _accepted(self) -> Iterator[dict[str, object] | None]:
        """Combinations that no condition excludes, and now and then None in between."""
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
                if rejected % NEWS_EVERY == 0:
                    yield None
        if not accepted:
            raise SgsError("--exclude leaves nothing: every combination is excluded")

    def _check_rejected(self, rejected: int) -> None:
        if rejected == MOST_REJECTED and self.mode in ("random", "sobol"):
            raise SgsError(f"gave up: --exclude excluded the last {rejected} draws, one and all")

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
        used = set(self.pattern.names())
        known = [*self.space.columns, "i"] + (["name"] if self.run_names else [])
        template.check_names(self.pattern, known)
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
    if options.pattern is not None:
        return options.pattern
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
    """The most commands to print."""
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
    # Imported here, as it needs ast and re, which few commands do.
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
    """Raise for a newline, which would cut a command in two for whoever reads lines."""
    advice = "a command is one line; end commands by NUL instead with --null"
    if "\n" in text:
        raise UsageError(f"the command holds a newline, but {advice}")
    for name, column in space.columns.items():
        values = getattr(column, "values", ())
        if any("\n" in value for value in values):
            raise UsageError(f"a value of -p {name} holds a newline, but {advice}")
