"""Rows, sections and targets, and how they are printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from .stats import describe, median, number


@dataclass(frozen=True)
class Column:
    key: str
    title: str
    digits: int = 1


@dataclass
class Row:
    """One subject: for each column the samples in the order of the repetitions."""

    key: str
    title: str
    cells: dict[str, list[float]] = field(default_factory=dict)
    note: str = ""
    words: dict[str, str] = field(default_factory=dict)  # in columns that have no samples

    def add(self, figures: Mapping[str, float]) -> None:
        for key, value in figures.items():
            self.cells.setdefault(key, []).append(value)


@dataclass(frozen=True)
class Target:
    """What our own row should reach."""

    figure: str
    row: str
    column: str
    limit: float
    unit: str = ""
    at_least: bool = False
    digits: int = 1

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    @property
    def text(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.limit:g}{self.unit}"


@dataclass(frozen=True)
class Section:
    key: str
    title: str
    text: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    targets: Sequence[Target] = ()


def relate(
    rows: Iterable[Row],
    column: str,
    base: Sequence[Row],
    base_key: str,
    new: str,
    relation: Callable[[float, float], float],
) -> None:
    """Adds a column that compares each sample with the base's sample of the same repetition."""
    against = next((row.cells.get(column, []) for row in base if row.key == base_key), [])
    for row in rows:
        pairs = zip(
            row.cells.get(column, []), against, strict=False
        )  # a failed row may have fewer
        related = [relation(value, reference) for value, reference in pairs]
        if related:
            row.cells[new] = related


def ratio(value: float, reference: float) -> float:
    return value / reference


def difference(value: float, reference: float) -> float:
    return value - reference


# Markdown --------------------------------------------------------------------------------------


def table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    lines = [header, [":---", *["---:"] * (len(header) - 1)], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def section_table(section: Section) -> str:
    return table(
        ["", *(column.title for column in section.columns)],
        [row_cells(row, section.columns) for row in section.rows],
    )


def row_cells(row: Row, columns: Sequence[Column]) -> list[str]:
    cells = [cell(row, column) for column in columns]
    if row.note:
        cells[0] = row.note.replace("|", "\\|")
    return [row.title, *cells]


def cell(row: Row, column: Column) -> str:
    samples = row.cells.get(column.key)
    return describe(samples, column.digits) if samples else row.words.get(column.key, "")


def target_table(sections: Iterable[Section], subject: str) -> str:
    body = [verdict(section, target) for section in sections for target in section.targets]
    return table([f"figure of {subject}", "measured", "target", "verdict"], body)


def verdict(section: Section, target: Target) -> list[str]:
    samples = next(
        (row.cells.get(target.column) for row in section.rows if row.key == target.row), None
    )
    if not samples:
        return [target.figure, "", target.text, "not measured"]
    middle = median(samples)
    result = "met" if target.met(middle) else "**missed**"
    return [target.figure, f"{number(middle, target.digits)}{target.unit}", target.text, result]


def document(
    facts: Sequence[tuple[str, str]],
    sections: Sequence[Section],
    title: str = "Benchmark results",
    subject: str = "simple_gpu_scheduler",
) -> str:
    """The whole report."""
    parts = [f"# {title}", "\n".join(f"- {name}: {value}" for name, value in facts)]
    if any(section.targets for section in sections):
        parts += ["## Targets", target_table(sections, subject)]
    for section in sections:
        parts += [f"## {section.title}", section.text, section_table(section)]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_json(facts: Sequence[tuple[str, str]], sections: Sequence[Section]) -> dict[str, object]:
    """Everything, with each single sample."""
    return {"facts": dict(facts), "sections": [asdict(section) for section in sections]}
