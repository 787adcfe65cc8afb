"""Race the methods against their references, and write BENCHMARKS.md.

python benchmarks/run.py            all
python benchmarks/run.py fspool     some, printed only
"""

from __future__ import annotations

import importlib
import platform
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from common import Benchmark, race, saved_mib

HERE = Path(__file__).resolve().parent
NOT_BENCHMARKS = ("common", "run")


def main() -> int:
    """Race, and write."""
    arguments = _parser().parse_args()
    torch.set_num_threads(arguments.threads)
    known = [path.stem for path in sorted(HERE.glob("*.py")) if path.stem not in NOT_BENCHMARKS]
    if unknown := sorted(set(arguments.names) - set(known)):
        print(f"run.py: no benchmark {unknown[0]!r}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    lines = [_head(arguments.threads)]
    for name in arguments.names or known:
        for benchmark in importlib.import_module(name).BENCHMARKS:
            print(f"run.py: {benchmark.title}", file=sys.stderr, flush=True)
            lines += _table(benchmark, arguments.rounds)
    text = "\n".join(lines)
    if arguments.names:
        print(text)
    else:
        (HERE.parent / "BENCHMARKS.md").write_text(text, encoding="utf-8")
    return 0


def _head(threads: int) -> str:
    return f"""# Benchmarks

Written by `make bench-methods`. Each table is a race in one process, in turns: the median time of
the first name, and how many times as long the others take (above 1: ours is faster). `grows` is
the time beside that of the size before; `kept` is what autograd keeps for the backward pass.

torch {torch.__version__}, {threads} thread{"s" * (threads > 1)}, {platform.machine()}.
"""


def _table(benchmark: Benchmark, rounds: int) -> Iterator[str]:
    before: float | None = None
    yield f"## {benchmark.title}"
    yield ""
    for size in benchmark.sizes:
        if benchmark.same is not None:
            benchmark.same(size)
        rivals = benchmark.rivals(size)
        times_s = race(rivals, rounds)
        if before is None:
            yield from _titles(benchmark.size, list(rivals))
        ours, *others = times_s
        grows = "" if before is None else f"{times_s[ours] / before:.1f}"
        ratios = [f"{times_s[one] / times_s[ours]:.2f}" for one in others]
        kept = [f"{saved_mib(work):.2f} MiB" for work in rivals.values()]
        cells = [str(size), f"{1e3 * times_s[ours]:.3f} ms", *ratios, grows, " / ".join(kept)]
        yield f"| {' | '.join(cells)} |"
        before = times_s[ours]
    yield ""
    if benchmark.why:
        yield f"{benchmark.why}\n"


def _titles(size: str, rivals: Sequence[str]) -> Iterator[str]:
    names = [size, *rivals, "grows", f"kept ({' / '.join(rivals)})"]
    yield f"| {' | '.join(names)} |"
    yield "|" + "---|" * len(names)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="run.py", description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks (default: all)")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU (default: 1)")
    parser.add_argument("--rounds", type=int, default=9, help="of each race (default: 9)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
