"""Text of others is data: names, commands, groups and paths steer no terminal."""

from __future__ import annotations

import ast
import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import fake_nvml
import simple_gpu_scheduler
from profiles import examples
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.pipe.console import format_event
from simple_gpu_scheduler.pipe.events import Notice, Rejected
from simple_gpu_scheduler.text.printable import (
    printable,
    printable_bytes,
    printable_lines,
    shell_word,
)

BIN = Path(sys.executable).parent
BOUND_S = 60.0
PACKAGE = Path(simple_gpu_scheduler.__file__).parent

#: A title, a cleared screen, colours by single bytes and characters of C1, a line that is written
#: over, a bell, a mark that turns around what follows.
EVIL = "x\x1b]0;pwned\x07\x1b[2J\u009b31m\r\x7f\b\u202epwned"
EVIL_BYTES = EVIL.encode() + b"\x9b32mpwned\x90\xff"
HARMFUL = [b"\x1b]0;", b"\x1b[2J", b"\x9b31m", b"\x9b32m", b"\x07", b"\x7f", b"\x08", b"\x90"]
HARMFUL += ["\u202e".encode(), b"\rpwned", b"\r\x7f"]


# the functions


awkward = st.text(
    st.one_of(
        st.characters(), st.sampled_from("\x00\t\n\r\x1b\x7f\x85\x9b\u2028\u202e\ud83d\udc9b")
    )
)


@given(awkward)
def test_printable_text_is_one_harmless_line(text: str) -> None:
    found = printable(text)
    assert found.isprintable()
    assert printable(found) == found
    assert found.encode().decode() == found
    if text.isprintable():
        assert found == text
    assert str(SgsError(text)) == found
    assert printable_lines(text).split("\n") == [printable(one) for one in text.split("\n")]


@given(st.one_of(st.binary(), awkward.map(lambda one: one.encode(errors="surrogatepass"))))
def test_printable_bytes_are_one_harmless_line(data: bytes) -> None:
    found = printable_bytes(data)
    assert found.decode().isprintable()
    assert printable_bytes(found) == found
    with suppress(UnicodeDecodeError):
        if data.decode().isprintable():
            assert found == data


@given(awkward, st.binary())
def test_what_the_pipe_says_is_a_harmless_line(text: str, command: bytes) -> None:
    for event in (Notice(text), Rejected(1, command, text, 0.0)):
        with suppress(UnicodeEncodeError):  # text that comes from no bytes
            line = format_event(event)
            assert line.endswith(b"\n")
            assert line[:-1].decode().isprintable()


def test_a_long_command_is_cut_between_characters() -> None:
    for blanks in range(4):
        line = format_event(Rejected(1, b" " * blanks + "é漢".encode() * 100, "can't be run", 0.0))
        assert len(line) < 300
        assert b"\\x" not in line
        assert line.endswith(b"...`\n")


# no way round them

#: Who may write to stdout and stderr otherwise, and why.
WRITERS = {
    "system/fds.py": "the way itself",
    "pipe/console.py": "by printable_bytes; stdout of a pipe as of version 0.1",
    "pipe/progress_bar.py": "moves the cursor; the text is made printable",
    "processes/stderr_relay_main.py": "what jobs print, as it comes",
    "queue/worktrees/checkout_main.py": "its path is read by a shell",
    "cli/completion/command.py": "read by shells; names that aren't printable are left out",
    "cli/run/dry_run.py": "commands, printable on a terminal",
    "cli/search.py": "commands, printable on a terminal",
    "cli/queue/logs.py": "what a job has printed, as it came",
    "cli/queue/screen.py": "moves the cursor; the lines are made printable",
    "cli/simulate.py": "progress: the name of a policy and a number",
}


def writes(path: Path) -> Iterator[int]:
    """Lines that write to stdout or stderr."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            first = ast.unparse(node.args[0]) if node.args else ""
            if called in ("print", "say", "sys.stdout.write", "sys.stderr.write") or (
                called in ("write_whole", "os.write") and first in ("1", "2")
            ):
                yield node.lineno
            if called.startswith(("sys.stdout.buffer", "sys.stderr.buffer", "warnings.")):
                yield node.lineno


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_all_that_is_printed_goes_through_one_place(path: Path) -> None:
    name = str(path.relative_to(PACKAGE))
    if name not in WRITERS and not name.startswith("top/"):
        assert list(writes(path)) == [], f"{name}: use show or tell of system.fds"


# the commands, on a terminal


def on_terminal(
    command: list[str | bytes], env: Mapping[str, str], cwd: Path, typed: bytes | None = None
) -> bytes:
    """All that a terminal is sent; stdin is the terminal, or what is typed, by a pipe."""
    ours, theirs = os.openpty()
    program = subprocess.Popen(
        [str(BIN / os.fsdecode(command[0])), *command[1:]], cwd=cwd, env={**env, "TERM": "xterm"},
        stdin=subprocess.PIPE if typed is not None else theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    if typed is not None:
        assert program.stdin is not None
        program.stdin.write(typed)
        program.stdin.close()
    shown = b""
    with suppress(OSError):  # EIO: nobody has the terminal open any more
        while data := os.read(ours, 1 << 16):
            shown += data
    os.close(ours)
    program.wait(BOUND_S)
    return shown


def assert_harmless(shown: bytes, what: object) -> None:
    assert b"Traceback" not in shown, (what, shown)
    for one in HARMFUL:
        assert one not in shown, (what, shown)


class Machine:
    """A queue on slots of evil names, in an evil folder, beside a driver with an evil GPU."""

    def __init__(self, path: Path, library: Path) -> None:
        self.path = path / EVIL
        self.path.mkdir()
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SGS_", "CUDA_"))}
        state, leases = str(self.path / "state"), str(path / "leases")
        self.env = {**clean, "SGS_STATE_DIR": state, "SGS_LEASE_DIR": leases, "LANG": "C.UTF-8"}
        self.driver = fake_nvml.Machine(library, path)

    def shown(self, *command: str | bytes, typed: bytes | None = None) -> bytes:
        """What a terminal is sent."""
        return on_terminal(list(command), self.env, self.path, typed)

    def check(self, *command: str | bytes, typed: bytes | None = None) -> bytes:
        """The same, which must be harmless."""
        shown = self.shown(*command, typed=typed)
        assert_harmless(shown, command)
        return shown


@pytest.fixture
def machine(tmp_path: Path, library: Path) -> Iterator[Machine]:
    """With jobs of evil commands, groups and names: one has failed, one is held."""
    one = Machine(tmp_path, library)
    one.shown("sgs", "server", "start", "--gpus", "0,1")
    names = ["--group", EVIL, "--name", EVIL]
    one.shown("sgs", "submit", *names, "--", b"false " + EVIL_BYTES)
    one.shown("sgs", "submit", *names, "--hold", b"true '" + EVIL_BYTES + b"\nsecond line'")
    one.shown("sgs", "wait", "1")
    yield one
    one.shown("sgs", "cancel", "1", "2")
    one.shown("sgs", "server", "stop")


def test_commands_of_the_queue_show_no_text_raw(machine: Machine) -> None:
    for command in (
        ["sgs"],
        ["sgs", "status", "--all"],
        ["sgs", "status", "--all", "--json"],
        ["sgs", "report"],
        ["sgs", "report", "--by", "command"],
        ["sgs", "report", "--json"],
        *(["sgs", "explain", job, *more] for job in "12" for more in ([], ["--json"])),
        ["sgs", "wait", "1"],
        ["sgs", "server", "status"],
        ["sgs", "server", "status", "--json"],
        ["sgs", "server", "unit"],
        ["sgs", "retry", "--group", EVIL],
        ["sgs", "hold", "--group", EVIL],
        ["sgs", "completion", "jobs"],
        ["sgs", "completion", "groups"],
        ["sgs", "completion", "names"],
    ):
        assert machine.check(*command) or command[1:2] == ["completion"]
    assert b"pwned" in machine.check("sgs", "status", "--all")


#: Commands that refuse, or quote, a word wherever it stands.
ASKED = (
    *(["sgs", word] for word in ("X", "--X")),
    *(
        ["sgs", command, *words]
        for command in (
            *("run", "search", "submit", "status", "logs", "wait", "cancel", "hold", "release"),
            *("retry", "clean", "edit", "report", "server", "lease", "explain", "results"),
            *("simulate", "gpus", "completion"),
        )
        for words in (["--X"], ["--gpus", "X"], ["--X=X", "X"])
    ),
    *(["sgs", command, "X"] for command in ("cancel", "logs", "wait", "edit", "explain")),
    *(["sgs", command, "--group", "X-none"] for command in ("cancel", "wait", "hold", "retry")),
    ["sgs", "results", "X"],
    ["sgs", "results", ".", "--sort", "X"],
    ["sgs", "completion", "X"],
    ["sgs", "server", "X"],
    ["sgs", "server", "start", "--gpus", "X"],
    ["sgs", "report", "--since", "X"],
    ["sgs", "report", "--figure", "X/X.X"],
    ["sgs", "status", "--state", "X"],
    ["sgs", "simulate", "--trace", "X"],
    ["sgs", "simulate", "--synthetic", "3", "--policies", "X"],
    ["sgs", "lease", "--on", "0", "--no-wait", "--", "X"],
    ["sgs", "lease", "--vram", "X", "--", "true"],
    ["sgs", "submit", "--vram", "X", "true"],
    ["sgs", "submit", "--after", "X", "true"],
    ["sgs", "submit", "--file", "X"],
    ["sgs", "submit", "--hold", "true # sgs: X=X"],
    ["sgs", "submit", "--freeze", "--", "X"],
    ["simple_hypersearch", "{X}"],
    ["simple_hypersearch", "{a}", "-p", "X"],
    ["simple_hypersearch", "{a}", "-p", "a", "X"],
    ["simple_hypersearch", "{a}", "-p", "a", "1", "--exclude", "X"],
    *(
        ["simple_gpu_scheduler", *words]
        for words in (
            ["--gpus", "X"], ["--gpus", "0", "--joblog", "X/X"], ["--gpus", "0", "--results", "X"],
            ["--gpus", "0", "--dry-run"], ["--gpus", "0"], ["--gpus", "0", "--bar"],
            ["--gpus", "0", "--shell", "X"], ["--gpus", "0", "--json", "-"],
            ["--gpus", "0", "--retries", "X"], ["--gpus", "0", "--tries", "2"],
        )
    ),
)  # fmt: skip
LINES = b"\n".join(
    [
        b"false '" + EVIL_BYTES + b"'",
        b"true # sgs: " + EVIL_BYTES,
        b"true # sgs: gpus=" + EVIL_BYTES,
        b"",
    ]
)


@pytest.mark.parametrize("asked", ASKED, ids=" ".join)
def test_what_the_user_gave_is_quoted_harmlessly(
    tmp_path: Path, library: Path, asked: list[str]
) -> None:
    one = Machine(tmp_path, library)
    try:
        one.check(*(word.replace("X", EVIL) for word in asked), typed=LINES)
    finally:
        one.shown("sgs", "server", "stop")


def test_in_a_pipe_the_command_is_as_it_was(tmp_path: Path, library: Path) -> None:
    one = Machine(tmp_path, library)
    command = b"true '" + EVIL_BYTES + b"'"
    done = subprocess.run(
        [BIN / "simple_gpu_scheduler", "--gpus", "0"], env=one.env, cwd=one.path,
        input=command + b"\n", capture_output=True, check=True, timeout=BOUND_S,
    )  # fmt: skip
    assert done.stdout == b"Processing command `%s` on gpu 0\n" % command
    done = subprocess.run(
        [BIN / "simple_gpu_scheduler", "--gpus", "0", "--dry-run"], env=one.env, cwd=one.path,
        input=command + b"\n", capture_output=True, check=True, timeout=BOUND_S,
    )  # fmt: skip
    assert done.stdout == command + b"\n"


# names of processes

_NAMED = """
import ctypes, sys
ctypes.CDLL(None).prctl(15, sys.argv[1].encode("latin-1"), 0, 0, 0)
print(flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("name", ["\x1b[2Jpw\nned", "\x1b]0;pw\x07", "\x9b2J\r\x7f`$(id)"])
def test_the_name_of_a_process_is_shown_harmlessly(
    tmp_path: Path, library: Path, name: str
) -> None:
    one = Machine(tmp_path, library)
    with subprocess.Popen(
        [sys.executable, "-c", _NAMED, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as bob:
        assert bob.stdin is not None
        assert bob.stdout is not None
        bob.stdout.readline()
        assert Path(f"/proc/{bob.pid}/comm").read_bytes() == name.encode("latin-1") + b"\n"
        one.driver.write(
            fake_nvml.card(
                "GPU-0", memory="80000 70000", utilisation=90, processes=[(bob.pid, 70000)],
                name="NVIDIA \x1b[2J\u009b31mcard",
            )
        )  # fmt: skip
        one.env |= {"LD_LIBRARY_PATH": str(library), "FAKE_NVML_STATE": str(one.driver.path)}
        for command in (
            ["sgs"],
            ["sgs", "gpus"],
            ["sgs", "gpus", "--json"],
            ["sgs", "explain"],
            ["sgs", "explain", "--json"],
            ["sgs", "lease", "--no-wait", "--", "true"],
            ["sgs", "lease", "--timeout", "1s", "--", "true"],
            ["sgs", "lease", "--on", "0", "--no-wait", "--", "true"],
        ):
            shown = one.check(*command)
            assert str(bob.pid).encode() in shown or len(command) != 2 or command[1] != "gpus"
        bob.stdin.close()


def test_what_a_job_leaves_behind_is_named_harmlessly(tmp_path: Path, library: Path) -> None:
    one = Machine(tmp_path, library)
    program = tmp_path / "left.py"
    program.write_text(
        "import ctypes, os, signal\n"
        "ctypes.CDLL(None).prctl(15, b'\\x1b]0;pw\\x07\\x9b2J\\n', 0, 0, 0)\n"
        "print(os.getpid(), flush=True)\n"
        "signal.pause()\n"
    )
    ready = tmp_path / "ready"
    job = (
        f"exec < /dev/null; {sys.executable} {program} > {ready} 2> /dev/null & "
        f"until [ -s {ready} ]; do sleep 0.01; done"
    )
    try:
        shown = one.check("simple_gpu_scheduler", "--gpus", "0", typed=job.encode() + b"\n")
        assert b"left processes running" in shown
        assert b"\\x1b]0;pw\\x07" in shown
    finally:
        os.kill(int(ready.read_text()), signal.SIGKILL)


# dashboards


def test_top_lets_no_text_through() -> None:
    """Neither what steers a terminal nor the markup of Textual."""
    app = pytest.importorskip("textual.app")
    from simple_gpu_scheduler.top.screen.spans import Span
    from simple_gpu_scheduler.top.widgets import Lines

    markup = "[bold]x[/] [@click=app.quit]y[/]"

    async def seen() -> str:
        bare = app.App()
        async with bare.run_test(size=(200, 5)) as pilot:
            lines = Lines()
            await bare.mount(lines)
            await pilot.pause()
            lines.show([(Span(EVIL), Span(markup, "bold"))], 1)
            return "".join(one.text for one in lines.render_line(0))

    assert asyncio.run(seen()).rstrip() == printable(EVIL) + markup


@given(st.binary(max_size=20).map(lambda data: data.replace(b"\0", b"").rstrip(b"\n")))
@example("it's\npar\u009btial %s \\101 \u202e".encode())
@settings(max_examples=examples(1 / 2))
def test_a_word_for_a_shell_is_printable_and_means_the_text(data: bytes) -> None:
    word = shell_word(os.fsdecode(data))
    assert word.isprintable()
    told = subprocess.run(["sh", "-c", f"printf %s {word}"], stdout=subprocess.PIPE, check=True)
    assert told.stdout == data
