"""`sgs top` as a user meets it: the installed command in a terminal of 80 by 24."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from waiting import BOUND_S

from .conftest import DOWN, END, ESCAPE, HOME, SGS, Site, Terminal

#: Runs until the test says so.
WAIT = "until [ -e {0} ]; do sleep 0.05; done"


def row(terminal: Terminal, job: int) -> str:
    """The line of a job in the table, without its cursor; empty if it isn't there."""
    found = [one for one in terminal.lines if re.match(rf"[> ][* ] *{job}  ", one)]
    return found[0][2:].lstrip() if found else ""


def chosen(terminal: Terminal) -> int | None:
    """The job under the cursor."""
    found = [re.match(r">[* ] *(\d+)  ", one) for one in terminal.lines]
    return next((int(one[1]) for one in found if one), None)


def first(terminal: Terminal) -> str:
    """The first line of the table, with its cursor."""
    return next((one for one in terminal.lines if re.match(r"[> ][* ] *\d+  ", one)), "")


def choose(terminal: Terminal, job: int) -> None:
    terminal.until(lambda: row(terminal, job), f"job {job}")
    terminal.type(HOME)
    terminal.until(lambda: first(terminal).startswith(">"), "the cursor on the first line")
    for _ in range(20):
        terminal.until(lambda: chosen(terminal) is not None, "the cursor")
        at = chosen(terminal)
        if at == job:
            break
        terminal.type(DOWN)
        terminal.until(lambda at=at: chosen(terminal) != at, "the cursor moves")
    terminal.until_shown(rf"job {job} ")


def test_a_job_runs_and_its_log_moves(site: Site) -> None:
    job = site.submit(
        "--group", "lr", "--name", "first", "--",
        "echo begun; " + WAIT.format("go") + "; echo more; " + WAIT.format("end"),
    )  # fmt: skip
    terminal = site.top()
    terminal.until_shown(r"^begun$")
    assert re.match(r"1  running  0 +\d+s  lr/first  echo begun; until", row(terminal, job))
    assert "1 of 2 GPUs free" in terminal.lines[0]
    assert "1 running" in terminal.lines[0]
    first, second = terminal.lines[1:3]
    assert re.match(r" 0  H100  ·{10} 0.5/80.0G  97%       job 1$", first)
    assert re.match(r" 1  H100  ·{10} 0.7/80.0G   3%       free$", second)
    (site.path / "go").touch()
    terminal.until_shown(r"^begun\nmore$")
    (site.path / "end").touch()
    terminal.until(lambda: "succeeded" in row(terminal, job), "its end")
    terminal.until_shown("2 of 2 GPUs free")
    assert len(terminal.lines) == 24
    keys = " c cancel  h hold  +- prio  r retry  a view  / filter  l log  ? help  q quit"
    assert terminal.lines[-1] == keys


def test_what_is_cancelled_is_asked_for_before(site: Site) -> None:
    job = site.submit("--", "sleep 1000")
    terminal = site.top()
    terminal.until(lambda: "running" in row(terminal, job), "it runs")
    terminal.type("c")
    terminal.until_shown(r"Cancel job 1\?")
    assert "sleep 1000" in terminal.text
    terminal.type("n")
    terminal.until_shown("not cancelled")
    assert site.state(job) == "running"
    terminal.type("cy")
    terminal.until(lambda: "cancelled" in row(terminal, job), "its end")
    assert site.state(job) == "cancelled"
    terminal.type("c")
    terminal.until_shown("nothing to cancel: it has ended")


def test_held_and_released(site: Site) -> None:
    first = site.submit("--gpus", "2", "--", WAIT.format("go"))
    second = site.submit("--", "true")
    terminal = site.top()
    choose(terminal, second)
    terminal.type("h")
    terminal.until(lambda: "held" in row(terminal, second), "it is held")
    terminal.until_shown("held: job 2")
    assert site.state(second) == "held"
    terminal.until(lambda: "h release" in terminal.lines[-1], "the other meaning of h")
    (site.path / "go").touch()
    terminal.until(lambda: "succeeded" in row(terminal, first), "the first one ends")
    assert site.state(second) == "held"
    choose(terminal, second)
    terminal.type("h")
    terminal.until(lambda: "succeeded" in row(terminal, second), "it is released, and runs")
    terminal.type("h")
    terminal.until_shown("nothing to hold or release")


def test_what_is_raised_starts_first(site: Site) -> None:
    site.submit("--gpus", "2", "--", WAIT.format("go"))
    second, third = (site.submit("--gpus", "2", "--", "true") for _ in range(2))
    terminal = site.top()
    choose(terminal, second)
    terminal.type("-")
    terminal.until_shown("priority -1: job 2")
    choose(terminal, third)
    terminal.type("+")
    terminal.until_shown("priority 1: job 3")
    assert [site.entry(job).priority for job in (second, third)] == [-1, 1]
    terminal.until_shown(r"^.. ?3  queued[^\n]*\n.. ?2  queued")
    (site.path / "go").touch()
    terminal.until(lambda: "succeeded" in row(terminal, second), "all have run")
    started = [site.entry(job).started_s for job in (second, third)]
    assert started[1] < started[0]


def test_a_failed_one_is_retried(site: Site) -> None:
    job = site.submit("--", "echo no data >&2; [ -e data ] || exit 3")
    terminal = site.top()
    terminal.until(lambda: "failed: exit 3" in row(terminal, job), "it fails")
    terminal.until_shown("no data")
    assert "1 failed" in terminal.lines[0]
    (site.path / "data").touch()
    terminal.type("r")
    terminal.until(lambda: "succeeded" in row(terminal, job), "it is run again")
    assert (site.state(job), site.entry(job).attempt) == ("succeeded", 2)


def test_marked_ones_together(site: Site) -> None:
    jobs = [site.submit("--hold", "--", f"echo {n}") for n in range(4)]
    terminal = site.top()
    choose(terminal, jobs[1])
    terminal.type("  c")
    terminal.until_shown(r"Cancel the marked jobs 2,3\?")
    terminal.type("y")
    terminal.until_shown("cancelled: jobs 2,3")
    assert [site.state(job) for job in jobs] == ["held", "cancelled", "cancelled", "held"]


def test_views_and_filter(site: Site) -> None:
    jobs = [site.submit("--", f"echo {word}") for word in ("one", "two", "three")]
    held = site.submit("--hold", "--name", "two", "--", "true")
    terminal = site.top()
    terminal.until(lambda: all("succeeded" in row(terminal, job) for job in jobs), "they end")
    terminal.type("a")
    terminal.until_shown("open 1-1 of 1")
    assert row(terminal, held)
    terminal.type("a")
    terminal.until_shown("ended 1-3 of 3")
    terminal.type("a/tWo")
    terminal.until_shown(r'all "tWo" 1-2 of 2')
    terminal.until(lambda: row(terminal, held) and row(terminal, jobs[1]), "those two")
    terminal.type("\r")
    terminal.until(lambda: "quit" in terminal.lines[-1], "the keys are back")
    terminal.type("/ nothing")
    terminal.until_shown("No job matches")
    terminal.type(ESCAPE)
    terminal.until_shown("all 1-4 of 4")


def test_the_log_full_screen(site: Site) -> None:
    lines = "for i in $(seq 1 200); do echo line $i; done; "
    job = site.submit("--", lines + WAIT.format("go") + "; echo the last")
    terminal = site.top()
    terminal.until_shown("line 200")
    terminal.type("l")
    terminal.until(lambda: "- follows" in terminal.lines[-1], "the screen of the log")
    terminal.until(lambda: terminal.lines[-2] == "line 200", "it is at the end")
    terminal.until(
        lambda: re.search(r"job 1 running \d+s GPU 0", terminal.lines[0]), "whose log it is"
    )
    assert len(terminal.lines[1:-1]) == 22
    terminal.type(HOME)
    terminal.until(lambda: terminal.lines[1] == "line 1", "the beginning")
    terminal.type(END)
    terminal.until(lambda: terminal.lines[-2] == "line 200", "the end")
    (site.path / "go").touch()
    terminal.until(lambda: terminal.lines[-2] == "the last", "what comes")
    terminal.until_shown(rf"job {job} succeeded")
    terminal.type("q")
    terminal.until(lambda: "quit" in terminal.lines[-1], "back on the board")


def test_a_screen_about_the_job_the_gpus_and_the_keys(site: Site) -> None:
    job = site.submit("--hold", "--gpus", "2", "--", "python3", "train.py", "--name", "a b")
    terminal = site.top()
    choose(terminal, job)
    terminal.type("i")
    terminal.until_shown(r"^ command +python3 train.py --name 'a b'$")
    terminal.until_shown(r"^ waits +it is held")
    shown = "".join(one[12:] for one in terminal.lines[1:-1])
    assert str(site.path).replace("\n", "\\n") in shown
    terminal.type("qg")
    terminal.until_shown(r"^2 of 2 GPUs are free\.$")
    terminal.type("q?")
    terminal.until_shown(r"^  c +cancel the job")
    terminal.type("q")
    terminal.until(lambda: "cancel" in terminal.lines[-1], "back on the board")


def test_what_a_job_prints_can_do_no_harm(site: Site) -> None:
    wild = (
        r"printf '\033[2J\033[31mred\033[0m \033]0;title\007\377 caf\303\251\n'; "
        r"printf ' 10%%|#   |\r 50%%|##  |\r'; sleep 1000"
    )
    site.submit("--name", "n\x1b[1m", "--", wild)
    terminal = site.top()
    terminal.until_shown(r"^red \\xff café\n 50%\|##  \|$")
    assert b"title" not in terminal.raw
    assert b"\x1b[31mred" not in terminal.raw
    assert r"n\x1b[1m" in terminal.text


def test_awkward_commands(site: Site) -> None:
    held = site.submit(
        "--hold", "--", b"echo '\xff a\nb' \"\xe8\xae\xad\xe7\xbb\x83\"; # [bold]x[/]"
    )
    terminal = site.top()
    terminal.until(lambda: row(terminal, held), "it")
    assert row(terminal, held).endswith(r"""echo '\xff a\nb' "训练"; # [bold]x[/]""")


def test_another_size(site: Site) -> None:
    site.submit("--", "echo " + "x" * 300)
    terminal = site.top()
    terminal.until_shown("^x{77}")
    for columns, lines in ((132, 50), (60, 16), (80, 24)):
        terminal.resize(columns, lines)
        terminal.until(
            lambda lines=lines, columns=columns: (
                len(terminal.lines) == lines
                and terminal.lines[-1].endswith("q quit")
                and re.search(rf"^x{{{columns - 3}}}\.\.\.$", terminal.text, re.M)
            ),
            f"{columns} by {lines}",
        )
        assert "GPUs free" in terminal.lines[0]


def test_it_quits_and_leaves_the_terminal_as_it_was(site: Site) -> None:
    job = site.submit("--", "sleep 1000")
    for keys, status in (("q", 0), ("\x03", 0), ("/\x03", 0), ("l\x03", 0)):
        terminal = site.top()
        terminal.until(lambda terminal=terminal: "running" in row(terminal, job), "the job")
        terminal.type(keys)
        assert terminal.wait() == status
        assert_restored(terminal)
    assert site.state(job) == "running"


def assert_restored(terminal: Terminal) -> None:
    assert termios.tcgetattr(terminal.theirs) == terminal.before
    modes: dict[bytes, bytes] = {}
    for numbers, action in re.findall(rb"\x1b\[\?([\d;]+)([hl])", terminal.raw):
        modes.update(dict.fromkeys(numbers.split(b";"), action))
    assert modes.pop(b"25") == b"h", "the cursor is to be seen"
    assert modes.pop(b"7", b"h") == b"h", "lines are wrapped"
    assert modes.pop(b"1049") == b"l", "the other screen is left"
    assert set(modes.values()) <= {b"l"}
    assert b"\x1b[?1000h" not in terminal.raw, "the mouse stays the terminal's"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order(site: Site, number: int) -> None:
    terminal = site.top()
    os.kill(terminal.process.pid, number)
    assert terminal.wait() == 128 + number
    assert_restored(terminal)


def test_suspended_and_drawn_anew(site: Site) -> None:
    terminal = site.top()
    terminal.type("\x1a")
    stat = Path(f"/proc/{terminal.process.pid}/stat")
    terminal.until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "it is stopped")
    assert termios.tcgetattr(terminal.theirs) == terminal.before
    terminal.screen.reset()
    os.kill(terminal.process.pid, signal.SIGCONT)
    terminal.until(
        lambda: "GPUs free" in terminal.lines[0] and "quit" in terminal.lines[-1], "all of it"
    )
    terminal.screen.reset()
    terminal.type("\x0c")
    terminal.until(
        lambda: "GPUs free" in terminal.lines[0] and "quit" in terminal.lines[-1], "all of it"
    )


def test_no_color(site: Site) -> None:
    site.submit("--", "exit 3")
    colored = rb"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]"
    terminal = site.top()
    terminal.until_shown("failed: exit 3")
    assert re.search(colored, terminal.raw)
    without = site.top(env={"NO_COLOR": "1"})
    without.until_shown("failed: exit 3")
    assert not re.search(colored, without.raw)


def test_no_server_runs(site: Site) -> None:
    site.sgs("server", "stop")
    terminal = site.top()
    job = site.store.submit(_context(site), [_request()], 0.0)[0].id
    terminal.until_shown("no server runs")
    terminal.type("+")  # which calls one
    terminal.until(lambda: "succeeded" in row(terminal, job), "it has run")
    assert "no server" not in terminal.lines[0]


def _context(site: Site) -> object:
    from simple_gpu_scheduler.queue.records import Context

    environ = ((b"PATH", os.environ["PATH"].encode()),)
    return Context(os.fsencode(site.path), environ, 0o022)


def _request() -> object:
    from simple_gpu_scheduler.queue.records import JobRequest

    return JobRequest(b"true")


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_not_a_terminal(site: Site, stream: str) -> None:
    ours, theirs = os.openpty()
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    streams[stream] = subprocess.PIPE
    process = subprocess.Popen([SGS, "top"], env=site.env, **streams)
    said, errors = process.communicate(b"" if stream == "stdin" else None, timeout=BOUND_S)
    os.close(theirs)
    shown = (said or b"") + (errors or b"")
    if stream != "stderr":
        shown += os.read(ours, 4096)
    os.close(ours)
    assert process.returncode == 2
    assert (
        f"sgs top needs a terminal, but {stream} is not a terminal; see sgs status"
        in shown.decode()
    )


def test_a_terminal_that_can_do_nothing(site: Site) -> None:
    terminal = Terminal(SGS, "top", env={**site.env, "TERM": "dumb"})
    site.terminals.append(terminal)
    assert terminal.wait() == 2
    assert "TERM says it can't" in terminal.text.replace("\n", " ")


def test_nothing_of_it_is_imported_by_others() -> None:
    code = (
        "import sys; from simple_gpu_scheduler.cli.sgs import main; main(['status']); "
        "main(['top', '--help']) if 0 else None; "
        "print([m for m in sys.modules if m.partition('.')[0] in ('textual', 'rich')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=BOUND_S
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_usage() -> None:
    help_text = subprocess.run([SGS, "top", "--help"], capture_output=True, text=True, check=True)
    assert "examples:" in help_text.stdout
    done = subprocess.run(
        [SGS, "top", "--interval", "10ms"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "expected at least 0.5 s" in done.stderr


def test_other_keys(site: Site) -> None:
    job = site.submit("--hold", "--", "true")
    terminal = site.top("--key", "hold=x")
    choose(terminal, job)
    terminal.until(lambda: "x release" in terminal.lines[-1], "the other key")
    terminal.type("x")
    terminal.until(lambda: "succeeded" in row(terminal, job), "it is released, and runs")
    wrong = Terminal(SGS, "top", "--key", "hold=c", env=site.env)
    site.terminals.append(wrong)
    assert wrong.wait() == 2
    assert "c would be the key of cancel and of hold" in " ".join(wrong.lines)
    assert Path(SGS).exists()
