"""`sgs completion` in the real shells: by their own machinery, and by pressing TAB."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from queues import SGS, Shell
from simple_gpu_scheduler.cli.completion.spec import Value, commands, flags_of
from simple_gpu_scheduler.cli.sgs import COMMANDS
from terminal import Terminal
from waiting import BOUND_S, wait_until

SHELLS = ("bash", "zsh", "fish")
GROUP = "a b=1:é'"


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What it prints for each shell, as files."""
    folder = tmp_path_factory.mktemp("scripts")
    for shell in SHELLS:
        text = subprocess.run([SGS, "completion", shell], capture_output=True, check=True).stdout
        (folder / shell).write_bytes(text)
    return {shell: folder / shell for shell in SHELLS}


@pytest.fixture
def queue(shell: Shell) -> Shell:
    """A queue where 1 runs, 2 is held, 3 has failed and 4 waits."""
    shell.env["PATH"] = f"{SGS.parent}:{os.environ['PATH']}"
    shell.env["HOME"] = str(shell.path)
    shell.sgs("submit", "--group", GROUP, "--name", "né", "--", "sleep 1000")
    shell.sgs("submit", "--hold", "--group", "lr", "--", "echo 'held'\n\x1b[2J")
    shell.sgs("submit", "--group", "new\nline", "false")
    shell.sgs("submit", "--delay", "1h", "true")
    shell.sgs("wait", "3", status=1)
    wait_until(lambda: shell.objects()[0]["state"] == "running", "it runs")
    (shell.path / "some file.csv").touch()
    return shell


def run(shell: Shell, *command: str) -> str:
    done = subprocess.run(
        command, env=shell.env, cwd=shell.path, capture_output=True, text=True, timeout=BOUND_S,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


def in_bash(shell: Shell, script: Path, line: str, kind: int = 9) -> list[str]:
    """What bash would offer at the end of the line."""
    words = [word for word in re.split(r"\s+|(?<!-)([=:]+)", line) if word is not None]
    words = [word for n, word in enumerate(words) if word or n == len(words) - 1]
    if len(words) > 1 and not words[-1] and re.fullmatch("[=:]+", words[-2]):
        words.pop()  # as bash has it, the word is what breaks it
    setup = (
        f"source {shlex.quote(str(script))}; COMP_TYPE={kind}; COMP_WORDS=({shlex.join(words)}); "
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _sgs; "
        'for one in "${COMPREPLY[@]}"; do printf "%s\\n" "$one"; done'
    )
    return run(shell, "bash", "--norc", "-c", setup).splitlines()


def in_fish(shell: Shell, script: Path, line: str) -> list[str]:
    """What fish would offer, with descriptions after tabs."""
    setup = f"source {shlex.quote(str(script))}; complete -C {shlex.quote(line)}"
    return run(shell, "fish", "--no-config", "-c", setup).splitlines()


def first(lines: Sequence[str]) -> list[str]:
    return [line.split("\t")[0] for line in lines]


# what is told is what there is


def test_every_option_of_every_command_is_in_each_script(scripts: dict[str, Path]) -> None:
    found = commands(COMMANDS)
    assert [one.name for one in found] == list(COMMANDS)
    assert "--watch" in flags_of(next(one for one in found if one.name == "status").options)
    for shell, script in scripts.items():
        text = script.read_text()
        for command in found:
            assert command.options, command.name
            for flag in flags_of(command.options):
                shown = flag
                if shell == "fish":
                    shown = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
                assert shown in text, (shell, command.name, flag)


def test_what_a_value_may_be() -> None:
    found = {one.name: one for one in commands(COMMANDS)}

    def value(command: str, flag: str) -> Value | None:
        return next(one.value for one in found[command].options if flag in one.flags)

    assert value("submit", "--after") == Value("jobs")
    assert value("submit", "--gpus") == Value("nothing")
    assert value("server", "--gpus") == value("run", "--gpus") == Value("gpus")
    assert value("status", "--group") == Value("groups")
    assert value("status", "--all") is None
    assert value("run", "--joblog") == Value("files")
    assert value("run", "--results") == Value("folders")
    states = value("status", "--state")
    assert states is not None
    assert "held" in states.words
    assert found["cancel"].operand == Value("jobs")
    assert found["submit"].operand == Value("command")
    assert found["results"].operand == Value("folders")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_scripts_are_well_formed(scripts: dict[str, Path], shell: str) -> None:
    done = subprocess.run([shell, "-n", scripts[shell]], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_candidates(queue: Shell) -> None:
    assert queue.sgs("completion", "jobs", "cancel").splitlines() == [
        "1\trunning: sleep 1000", "4\tqueued: true", "2\theld: echo 'held'\\n\\x1b[2J"
    ]  # fmt: skip
    assert first(queue.sgs("completion", "jobs", "retry").splitlines()) == ["3"]
    assert first(queue.sgs("completion", "jobs", "release").splitlines()) == ["2"]
    assert first(queue.sgs("completion", "jobs").splitlines()) == ["1", "4", "3", "2"]
    assert queue.sgs("completion", "groups").splitlines() == ["lr\t1 job", f"{GROUP}\t1 job"]
    assert queue.sgs("completion", "names").splitlines() == ["né\t1 job"]
    if not os.path.exists("/dev/nvidiactl"):
        assert queue.sgs("completion", "gpus") == "0\tleased\n1\tfree\n"


def test_of_a_script_its_name_is_told(queue: Shell) -> None:
    (queue.path / "tr ain.sh").write_text("true\n")
    queue.sgs("submit", "--hold", "--script", "tr ain.sh")
    told = queue.sgs("completion", "jobs", "release").splitlines()
    assert told[0] == "5\theld: 'tr ain.sh'"


def test_without_a_queue_there_are_none_and_nothing_is_created(tmp_path: Path) -> None:
    env = {**os.environ, "SGS_STATE_DIR": str(tmp_path / "none")}
    for kind in ("jobs", "groups", "names"):
        done = subprocess.run([SGS, "completion", kind], env=env, capture_output=True, check=True)
        assert (done.stdout, done.stderr) == (b"", b"")
    assert not (tmp_path / "none").exists()


def test_what_is_wrong_is_said(shell: Shell) -> None:
    assert "invalid choice: 'tcsh'" in shell.sgs("completion", "tcsh", status=2)
    assert "SHELL" in shell.sgs("completion", status=2).upper()


# bash


def test_bash(queue: Shell, scripts: dict[str, Path]) -> None:
    def offers(line: str) -> list[str]:
        return in_bash(queue, scripts["bash"], line)

    assert offers("sgs can") == ["cancel"]
    assert set(offers("sgs ")) == set(COMMANDS)
    assert offers("sgs status --wa") == ["--watch"]
    assert offers("sgs status --state hel") == ["held"]
    assert offers("sgs cancel ") == ["1", "4", "2"]
    assert offers("sgs cancel --group l") == ["lr"]
    assert offers("sgs cancel --group=l") == ["lr"]
    assert offers("sgs submit --after 1,") == ["1,1", "1,4", "1,3", "1,2"]
    assert offers("sgs server st") == ["status", "start", "stop"]
    assert offers("sgs report --figure som") == ["some file.csv"]
    assert "python3" in offers("sgs submit --gpus 2 -- pytho") or shutil.which("python3") is None
    assert "some file.csv" in offers("sgs submit -- cat som")
    assert offers("simple_gpu_scheduler --jobl") == ["--joblog"]
    assert offers("simple_hypersearch --sampling-mode so") == ["sobol"]
    assert offers("sgs nothing ") == []


def test_in_bash_what_is_odd_is_quoted(queue: Shell, scripts: dict[str, Path]) -> None:
    (found,) = in_bash(queue, scripts["bash"], "sgs cancel --group a")
    assert shlex.split(found) == [GROUP]


def test_in_bash_states_are_listed_beside_the_jobs(queue: Shell, scripts: dict[str, Path]) -> None:
    listed = in_bash(queue, scripts["bash"], "sgs cancel ", kind=63)
    assert listed[0] == "1  (running: sleep 1000)"
    assert in_bash(queue, scripts["bash"], "sgs cancel 4", kind=63) == ["4"]


# fish


def test_fish(queue: Shell, scripts: dict[str, Path]) -> None:
    def offers(line: str) -> list[str]:
        return in_fish(queue, scripts["fish"], line)

    assert offers("sgs can") == [f"cancel\t{COMMANDS['cancel'][1]}"]
    assert set(first(offers("sgs "))) == set(COMMANDS)
    assert first(offers("sgs status --wa")) == ["--watch"]
    assert first(offers("sgs status --state hel")) == ["held"]
    assert offers("sgs cancel ")[0] == "1\trunning: sleep 1000"
    assert first(offers("sgs cancel ")) == ["1", "4", "2"]
    assert first(offers("sgs cancel --group l")) == ["lr"]
    assert first(offers("sgs cancel --group=l")) == ["--group=lr"]
    assert first(offers("sgs submit --after 1,")) == ["1,1", "1,4", "1,3", "1,2"]
    assert first(offers("sgs server st")) == ["status", "start", "stop"]
    assert first(offers("sgs report --figure som")) == ["some file.csv"]
    assert "some file.csv" in first(offers("sgs submit -- cat som"))
    assert first(offers("sgs submit -- sgs status --wa")) == ["--watch"]
    assert first(offers("simple_gpu_scheduler --jobl")) == ["--joblog"]
    assert first(offers("simple_hypersearch --sampling-mode so")) == ["sobol"]
    assert offers("sgs nothing ") == []


# zsh, and all of them by TAB

#: How each is made ready; the prompt isn't in it word for word, so that its echo isn't the prompt.
SETUP = {
    "bash": "source {}; PS1='rea''dy> '",
    "zsh": "autoload -U compinit; compinit -u -D; source {}; LISTMAX=0; PS1='rea''dy> '",
    "fish": "source {}; function fish_prompt; echo 'rea''dy> '; end",
}
START = {
    "bash": ["bash", "--norc", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}


class Typing:
    """A shell on a terminal, where lines are typed; a context manager."""

    def __init__(self, queue: Shell, shell: str, script: Path) -> None:
        self._setup = SETUP[shell].format(shlex.quote(str(script)))
        self.terminal = Terminal(START[shell], queue.env, queue.path, (40, 150))

    def __enter__(self) -> Typing:
        self.terminal.type(f"{self._setup}\n".encode())
        self.terminal.wait_for("ready> ")
        return self

    def __exit__(self, *_: object) -> None:
        self.terminal.__exit__()

    def tab(self, line: str, shown: str) -> None:
        """Type the line and TAB, and wait for what it should show."""
        self.terminal.forget()
        self.terminal.type(f"\x15{line}\t".encode())
        self.terminal.wait_for(shown)


def test_zsh_by_tab(queue: Shell, scripts: dict[str, Path]) -> None:
    with Typing(queue, "zsh", scripts["zsh"]) as typing:
        typing.tab("sgs can", "cel ")
        typing.tab("sgs status --wa", "--watch")
        typing.tab("sgs status --state hel", "--state held ")
        typing.tab("sgs cancel ", "-- running: sleep 1000")
        typing.tab("sgs release ", "sgs release 2")
        typing.tab("sgs cancel --group l", "--group lr ")
        typing.tab("sgs edit 2 --after=4,3,", "-- queued: true")
        typing.tab("sgs report --figure som", "some\\ file.csv")
        typing.tab("sgs submit -- cat som", "some\\ file.csv")
        typing.tab("sgs submit -- sgs wai", "sgs submit -- sgs wait ")
        typing.tab("simple_gpu_scheduler --jobl", "--joblog")
        typing.tab("simple_hypersearch --sampling-mode so", "sobol")
        typing.tab("sgs wait --group a", "a\\ b=1:é\\'")


def test_bash_by_tab(queue: Shell, scripts: dict[str, Path]) -> None:
    with Typing(queue, "bash", scripts["bash"]) as typing:
        typing.tab("sgs can", "cancel ")
        typing.tab("sgs cancel --group=l", "--group=lr ")
        typing.tab("sgs cancel --group a", "a\\ b=1:é\\' ")
        typing.tab("sgs cancel --group a\\ b=", "a\\ b=1:é\\' ")
        typing.tab("sgs cancel \t", "(running: sleep 1000)")
        typing.tab("sgs report --figure som", "some\\ file.csv ")


def test_fish_by_tab(queue: Shell, scripts: dict[str, Path]) -> None:
    with Typing(queue, "fish", scripts["fish"]) as typing:
        typing.tab("sgs can", "cel ")
        typing.tab("sgs cancel ", "running: sleep 1000")
