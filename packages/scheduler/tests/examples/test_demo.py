"""The commands of examples/README.md and the demo, run as a user would."""

import json
import re
import subprocess
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[4] / "examples"
BLOCKS = re.findall(r"^```bash\n(.*?)^```", (EXAMPLES / "README.md").read_text(), re.S | re.M)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]


DEMO = "sh examples/demo.sh"


@pytest.fixture(scope="module")
def demo(shell):
    """The demo, run once."""
    return shell(DEMO, EPOCHS="3")


def test_commands_of_the_readme(shell, demo):
    """In their order: the later ones show what the earlier ones made."""
    assert DEMO in COMMANDS
    assert len(COMMANDS) >= 6
    for command in COMMANDS:
        done = demo if command == DEMO else shell(command)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert "Traceback" not in done.stderr


def test_the_list_of_commands_uses_every_slot(shell):
    done = shell("simple_gpu_scheduler --gpus 0,1,2 < examples/gpu_commands.txt")
    lines = [re.fullmatch(r"job_id=(\d) device=([012])", x) for x in done.stdout.splitlines()]
    found = [match.groups() for match in lines if match]
    assert sorted(job for job, _ in found) == [str(i) for i in range(9)]
    assert {device for _, device in found} == {"0", "1", "2"}


def test_the_demo_ends_with_a_ranked_table(demo, root):
    assert demo.returncode == 0, demo.stderr
    header, *rows = demo.stdout.split("\n\n")[0].splitlines()
    assert header.split()[:5] == ["rank", "job", "lr", "batch_size", "val_accuracy"]
    assert len(rows) == 12
    accuracies = [float(row.split()[4]) for row in rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[0] > 0.8
    made = re.search(r"results in (runs/demo-\S+)", demo.stderr)[1]
    records = [json.loads(path.read_text()) for path in (root / made).glob("*/result.json")]
    assert len(records) == 12


def test_the_demo_fails_if_a_job_fails_and_still_shows_the_table(shell):
    done = shell("sh examples/demo.sh", EPOCHS="-1")
    assert done.returncode == 1
    assert "12 jobs: 0 ok, 12 failed." in done.stdout
    assert "--epochs: expected a whole number of at least 1" in done.stdout


def test_a_wrong_use_of_the_demo_is_said_once(shell):
    done = shell(DEMO, GPUS="0,0")
    assert done.returncode == 2
    assert done.stderr.count("error:") == 1
    assert "GPU 0 twice" in done.stderr


def test_the_demo_touches_no_earlier_results(shell, root):
    """Also of the same second: the clock stands still here, and the jobs are quick."""
    fake = root / "bin"
    fake.mkdir()
    (fake / "date").write_text("#!/bin/sh\necho 20200101-000000\n")
    (fake / "python3").write_text("#!/bin/sh\necho '{\"val_loss\": 1}'\n")
    for script in fake.iterdir():
        script.chmod(0o755)
    earlier = root / "runs" / "demo-20200101-000000"
    earlier.mkdir(parents=True)
    (earlier / "precious").write_text("x")
    for number in (2, 3):
        done = shell(f"PATH='{fake}':$PATH; {DEMO}", GPUS="a,b,c")
        assert done.returncode == 0, done.stderr
        assert f"results in runs/demo-20200101-000000-{number}\n" in done.stderr
        assert len(list((root / f"{earlier}-{number}").iterdir())) == 12
        rows = done.stdout.split("\n\n")[0].splitlines()[1:]
        assert {row.split()[-2] for row in rows} == {"a", "b", "c"}
    assert [path.name for path in earlier.iterdir()] == ["precious"]


def test_the_demo_parses_as_plain_sh():
    subprocess.run(["sh", "-n", EXAMPLES / "demo.sh"], check=True)
