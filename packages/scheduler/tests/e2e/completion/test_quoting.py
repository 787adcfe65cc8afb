"""What TAB inserts is one word and the very name, however a shell is quoted; it runs nothing."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator

import pytest

from queues import SGS, Shell
from terminal import Terminal
from waiting import BOUND_S, wait_until

#: Groups, each of which its first character tells from the others.
NAMES = (
    "a$(touch pwned)b",
    "b`touch pwned`",
    "c;touch pwned;",
    "d';touch pwned;'",
    'e";touch pwned;"',
    "f\\$(touch pwned)",
    "i!!",
    "o\\",
    "u  ($(touch pwned))",
    "wé*?[x]{1,2}",
    "x=y:z$(touch pwned)",
    "G\\'\\\"$(touch pwned)\"'",
    "~root",
    "-K;touch pwned",
)
#: Those that no shell has reason not to offer.
OFFERED = NAMES[:3] + NAMES[8:11]
#: How the word before TAB begins, with the first character of a name for N.
WORDS = (
    *("N", "--group=N", "'N", '"N', "--group='N", '--group="N', "$'N"),
    *("''N", "\\N", '"N"', "N'", 'N"', "N\\", "N$'"),
)
#: In these what is inserted is the name, or nothing is.
COMMON = WORDS[:6]

#: A shell whose TAB is ours, with a key that tells its line.
SETUP = {
    "bash": (
        'source {}; bind -x \'"\\C-xd": printf %s "$READLINE_LINE" > new; mv new line\';'
        " PS1='rea''dy> '"
    ),
    "zsh": (
        "autoload -U compinit; compinit -u -D; source {}; LISTMAX=0; "
        "dump() {{ print -rn -- $BUFFER > new; mv new line }}; zle -N dump; bindkey '^Xd' dump; "
        "PS1='rea''dy> '"
    ),
    "fish": (
        "source {}; function dump; commandline > new; mv new line; end; bind \\cxd dump; "
        "function fish_prompt; echo 'rea''dy> '; end"
    ),
}
START = {
    "bash": ["bash", "--norc", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
#: What runs a line: `sgs` only tells its words.
RUN = {
    "bash": ["bash", "-c", "sgs() {{ printf '%s\\0' \"$@\"; }}; {}"],
    "zsh": ["zsh", "-fc", "sgs() {{ printf '%s\\0' \"$@\"; }}; {}"],
    "fish": ["fish", "--no-config", "-c", "function sgs; printf '%s\\0' $argv; end; {}"],
}

TELL = {
    "bash": "sgs() { printf '%s\\0' \"$@\" > told; mv told given; }",
    "zsh": "sgs() { printf '%s\\0' \"$@\" > told; mv told given; }",
    "fish": "function sgs; printf '%s\\0' $argv > told; mv told given; end",
}


class Typing:
    """A shell on a terminal, where words are completed."""

    def __init__(self, queue: Shell, shell: str) -> None:
        self._queue = queue
        self.shell = shell
        script = queue.path / f"completion.{shell}"
        script.write_text(queue.sgs("completion", shell))
        self.terminal = Terminal(START[shell], queue.env, queue.path, (50, 150))
        self.terminal.type(SETUP[shell].format(shlex.quote(str(script))).encode() + b"\n")
        self.terminal.wait_for("ready> ")

    def line(self, typed: str, then: bytes = b"") -> str:
        """The line after what was typed and TAB."""
        target = self._queue.path / "line"
        target.unlink(missing_ok=True)
        self.terminal.type(b"\x05\x15" + typed.encode() + then + b"\t\x18d")
        wait_until(lambda: self.terminal.read() or target.exists(), f"the line of {typed!r}")
        return target.read_text().removesuffix("\n" if self.shell == "fish" else "")

    def words(self, line: str) -> list[str] | None:
        """What a command is given by that line; None where it is none."""
        *start, program = RUN[self.shell]
        done = subprocess.run(
            [*start, program.format(line)], cwd=self._queue.path, env=self._queue.env,
            capture_output=True, check=False, timeout=BOUND_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return done.stdout.decode().split("\0")[:-1] or None


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A queue whose groups are those names; none of its jobs starts."""
    one = Shell(tmp_path_factory.mktemp("quoting"))
    one.env["PATH"] = f"{SGS.parent}:{one.env['PATH']}"
    one.env["HOME"] = str(one.path)
    one.sgs("server", "start", "--gpus", "0")
    for name in NAMES:
        one.sgs("submit", "--hold", f"--group={name}", f"--name={name}", "true")
    yield one
    one.sgs("server", "stop")


@pytest.fixture(params=list(SETUP))
def typing(queue: Shell, request: pytest.FixtureRequest) -> Iterator[Typing]:
    """Each of the shells."""
    one = Typing(queue, request.param)
    yield one
    one.terminal.__exit__()


def test_what_tab_inserts_is_the_name_and_runs_nothing(queue: Shell, typing: Typing) -> None:
    wrong = []
    for name in NAMES:
        for word in WORDS:
            before = f"sgs status {'' if '=' in word else '--group '}{word.replace('N', name[0])}"
            line = typing.line(before)
            inserted = line.strip() != before
            words = typing.words(line) if inserted else None
            if inserted and words is None:  # it is quoted to its end: then nor does it run closed
                typing.words(f"{line}'")
                typing.words(f'{line}"')
            given = None if words is None else words[-1].removeprefix("--group=")
            if (queue.path / "pwned").exists():
                (queue.path / "pwned").unlink()
                wrong.append(("runs", before, line))
            elif (
                word in COMMON
                and name != "i!!"
                and (given != name if inserted else name in OFFERED)
            ):
                wrong.append(("is another", before, line))
    assert not wrong, "\n".join(map(repr, wrong))


def test_what_tab_inserts_is_the_name_when_enter_is_pressed(queue: Shell, typing: Typing) -> None:
    """Now by the shell itself: a mark of its history in a name means nothing, either."""
    target = queue.path / "given"
    typing.terminal.forget()
    typing.terminal.type(TELL[typing.shell].encode() + b" ; echo re'ady'-now\n")
    typing.terminal.wait_for("ready-now")
    for begin in ("i", "'i", '"i'):
        before = f"sgs status --group {begin}"
        line = typing.line(before)
        if line.strip() == before:
            continue
        target.unlink(missing_ok=True)
        typing.terminal.type(b"\n")
        wait_until(lambda: typing.terminal.read() or target.exists(), f"it is run: {line!r}")
        assert target.read_text().split("\0")[2] == "i!!", line
