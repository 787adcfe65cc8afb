"""Run the experiments through the scheduler, and write RESULTS.md from what they printed.

    python experiments/results.py            all of them, then RESULTS.md and the README's table
    python experiments/results.py sumo       this one anew; the others as they were last run
    python experiments/results.py --write    RESULTS.md from what was run before

What is run is one pipe, `simple_hypersearch ... | simple_gpu_scheduler`, and is printed first.
What the runs print is kept in rows/ beside RESULTS.md, one file for each experiment.
Exit status: 0 all ran; 1 a run failed, which RESULTS.md then says.
"""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from pathlib import Path

from common import Experiment, Row
from readme import with_table
from report import report

HERE = Path(__file__).resolve().parent
NOT_EXPERIMENTS = ("autorec", "common", "readme", "report", "results", "text")
README, RESULTS = HERE.parent / "README.md", HERE.parent / "RESULTS.md"


def main() -> int:
    """Run what was asked for, and write."""
    arguments = _parser().parse_args()
    known = {one.name: one for one in experiments()}
    names = arguments.names or list(known)
    if unknown := sorted(set(names) - set(known)):
        print(
            f"results.py: no experiment {unknown[0]!r}; known: {', '.join(known)}", file=sys.stderr
        )
        return 2
    if arguments.quick and arguments.output.resolve().parent == RESULTS.parent:
        said = f"--quick gives no results; expected an --output that isn't in {RESULTS.parent}"
        print(f"results.py: {said}", file=sys.stderr)
        return 2
    kept = arguments.output.parent / "rows"
    failed = 0
    if not arguments.write:
        chosen = [known[name] for name in names]
        arguments.folder.mkdir(parents=True, exist_ok=True)
        failed = _sweep(chosen, arguments)
        _keep(chosen, arguments.folder, kept)
    rows = {name: kept_rows(name, kept) for name in known}
    text = report(list(known.values()), rows, arguments.output.parent / "figures")
    arguments.output.write_text(text, encoding="utf-8")
    if arguments.output.resolve() == RESULTS:
        table = with_table(README.read_text("utf-8"), list(known.values()), text)
        README.write_text(table, encoding="utf-8")
    print(f"results.py: {arguments.output} is written", file=sys.stderr)
    return 1 if failed else 0


def experiments() -> Iterator[Experiment]:
    """Those in the files beside this one, by name."""
    for path in sorted(HERE.glob("*.py")):
        if path.stem not in NOT_EXPERIMENTS:
            spec = importlib.util.spec_from_file_location(f"experiments_{path.stem}", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module  # dataclasses look themselves up there
            spec.loader.exec_module(module)
            yield module.EXPERIMENT


def pipeline(chosen: Sequence[Experiment], arguments: Namespace) -> str:
    """The shell command that runs them all."""
    searches = "\n".join(f"  {shlex.join(_search(one, arguments))}" for one in chosen)
    scheduler = [
        _command("simple_gpu_scheduler"), "--gpus", arguments.gpus, "--quiet",
        "--results", str(arguments.folder / "runs"), "--joblog", str(arguments.folder / "joblog"),
        *(("--vram", arguments.vram) if arguments.vram else ()),
    ]  # fmt: skip
    return f"{{\n{searches}\n}} | {shlex.join(scheduler)}"


def _search(experiment: Experiment, arguments: Namespace) -> list[str]:
    script = HERE / f"{experiment.name}.py"
    options = " ".join(f"--{name.replace('_', '-')} {{{name}}}" for name in experiment.sweep)
    words = [shlex.quote(sys.executable), shlex.quote(str(script))]
    if arguments.quick:
        words += map(shlex.quote, experiment.quick)
    words.append(options)
    if arguments.device:
        words.append(f"--device {shlex.quote(arguments.device)}")
    search = [_command("simple_hypersearch"), " ".join(words), "--sampling-mode", "grid"]
    for name, values in experiment.sweep.items():
        search += ["-p", name, *map(str, values)]
    return search


def _command(name: str) -> str:
    """One of the scheduler's commands: that of this environment, or what PATH has."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


def _sweep(chosen: Sequence[Experiment], arguments: Namespace) -> int:
    shutil.rmtree(arguments.folder / "runs", ignore_errors=True)
    (arguments.folder / "joblog").unlink(missing_ok=True)
    command = pipeline(chosen, arguments)
    print(command, file=sys.stderr, flush=True)
    return subprocess.run(["bash", "-o", "pipefail", "-c", command], check=False).returncode


def _keep(chosen: Sequence[Experiment], folder: Path, kept: Path) -> None:
    """Sort what was printed by experiment, one file each; of a run that failed a row says so."""
    found: dict[str, list[Row]] = {one.name: [] for one in chosen}
    for run in sorted((folder / "runs").iterdir(), key=lambda path: int(path.name)):
        script = shlex.split((run / "command").read_text("utf-8"))[1]
        found[Path(script).stem] += _printed(run)
    kept.mkdir(exist_ok=True)
    for name, rows in found.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (kept / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def _printed(run: Path) -> Iterator[Row]:
    if json.loads((run / "result.json").read_text("utf-8"))["exit_code"] != 0:
        yield {"run": run.name, "failed": True}
        return
    for line in (run / "stdout").read_text("utf-8").splitlines():
        yield {"run": run.name, **json.loads(line)}


def kept_rows(name: str, kept: Path) -> list[Row]:
    """What an experiment printed when it was last run; nothing if it never was."""
    path = kept / f"{name}.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def _parser() -> ArgumentParser:
    assert __doc__ is not None
    parser = ArgumentParser(
        prog="results.py", description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments (default: all)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="small runs, to see that all works; with an --output in another folder",
    )
    parser.add_argument("--write", action="store_true", help="run nothing, only write")
    parser.add_argument("--gpus", default="0,1", help="for the scheduler (default: 0,1)")
    parser.add_argument(
        "--vram", metavar="SIZE", help="GPU memory of a run, as 4G: several share a GPU"
    )
    parser.add_argument(
        "--device", default="", help="for the experiments (default: what is there)"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("runs/methods"),
        help="of the runs (default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
