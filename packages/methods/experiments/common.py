"""What every experiment is: a claim, a sweep, a run that prints JSON lines, and a judge of them.

An experiment is a file beside this one with an `EXPERIMENT` in it and, at its end,

    if __name__ == "__main__":
        main(EXPERIMENT)

so that `python experiments/NAME.py --seed 3` runs one seed of it and prints a line for each thing
that it measured. `results.py` sweeps them all.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from iclr2020.data import DataError

Row = dict[str, Any]
Rows = Sequence[Row]


class Verdict(NamedTuple):
    """Whether the claim was seen, and in which numbers."""

    what: Literal["reproduced", "partly", "not at this scale"]
    why: str  #: one or two sentences with the numbers of this run


@dataclass(frozen=True)
class Experiment:
    """A claim and how it is put to the test.

    Attributes:
        name: that of its file.
        method: what a table calls it, and where it is: "SUMO (`iclr2020.generative.sumo`)".
        claim: of the paper, in a sentence.
        data: which, how much of it, and how it was split.
        setting: what is the same for all: models, budgets, what was matched for fairness.
        sweep: the options that `results.py` varies and their values; "seed" among them.
        options: adds the experiment's own options, each with a default and a help text.
        run: yields rows: the columns of `by`, and numbers; seeded, on `arguments.device`.
        by: the columns that tell what is compared; seeds are what is averaged over.
        metrics: the columns of numbers to show, each with how to format it, as ".3f".
        judge: the verdict on all rows of the sweep.
        quick: options with which one run ends in seconds; the tests use them.
        figure: draws what a table can't show well; gets all rows and the path of a PNG file.
        data_sets: names for `python -m iclr2020.data install`.
    """

    name: str
    method: str
    claim: str
    data: str
    setting: str
    sweep: Mapping[str, Sequence[object]]
    options: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], Iterator[Row]]
    by: Sequence[str]
    metrics: Mapping[str, str]
    judge: Callable[[Rows], Verdict]
    quick: Sequence[str] = ()
    figure: Callable[[Rows, Path], None] | None = None
    data_sets: Sequence[str] = field(default=())


def main(experiment: Experiment, words: Sequence[str] | None = None) -> None:
    """Run it as a command: a JSON line for each row, or one that says what is missing."""
    arguments = _parser(experiment).parse_args(words)
    try:
        _print_rows(experiment, arguments)
    except DataError as error:
        sys.exit(f"{experiment.name}.py: {error}")
    except ImportError as error:
        extra = 'pip install "iclr2020-methods[experiments]"'
        sys.exit(f"{experiment.name}.py: {error.name} is needed; get it by: {extra}")


def _print_rows(experiment: Experiment, arguments: Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    began_s = time.perf_counter()
    for row in experiment.run(arguments):
        told = {"experiment": experiment.name, "seed": arguments.seed, **row}
        told["elapsed_s"] = round(time.perf_counter() - began_s, 2)
        told |= {"torch": torch.__version__, "device": arguments.device}
        print(json.dumps(told), flush=True)


def _parser(experiment: Experiment) -> ArgumentParser:
    values = " ".join(f"-p {name} ..." for name in experiment.sweep)
    options = " ".join(f"--{name.replace('_', '-')} {{{name}}}" for name in experiment.sweep)
    parser = ArgumentParser(
        prog=f"{experiment.name}.py",
        description=f"{experiment.method}. Claim: {experiment.claim}",
        epilog="examples:\n"
        f"  python {experiment.name}.py --seed 1\n"
        f'  simple_hypersearch "python {experiment.name}.py {options}" {values} \\\n'
        "      | simple_gpu_scheduler --gpus 0,1",
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=0, help="of all randomness (default: 0)")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (default: 1)")
    parser.add_argument(
        "--device", type=_usable, default=_device(), help="such as cpu or cuda (here: %(default)s)"
    )
    experiment.options(parser)
    return parser


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _usable(device: str) -> str:
    try:
        torch.empty(1, device=device)
    except (AssertionError, RuntimeError) as error:
        raise ArgumentTypeError(f"{device!r}: {str(error).splitlines()[0]}") from None
    return device


def pick(rows: Rows, **where: object) -> list[Row]:
    """The rows with these values in these columns."""
    return [row for row in rows if all(row.get(name) == value for name, value in where.items())]


def mean(rows: Rows, metric: str, **where: object) -> float:
    """The mean of a metric over the rows with these values."""
    return statistics.fmean(row[metric] for row in pick(rows, **where))


def spread(rows: Rows, metric: str, **where: object) -> float:
    """The standard deviation over the rows with these values; 0 for a single one."""
    values = [row[metric] for row in pick(rows, **where)]
    return statistics.stdev(values) if len(values) > 1 else 0.0


def by_seed(rows: Rows, metric: str, **where: object) -> dict[int, float]:
    """A metric for each seed, for comparisons in pairs; the last row of a seed counts."""
    return {row["seed"]: row[metric] for row in pick(rows, **where)}
