"""--bar: progress on a terminal, which job output never mixes with."""

import fcntl
import os
import pty
import re
import signal
import struct
import termios
import time

import pytest

RESET = re.compile(r"\x1b\[1;(\d+)r")


class Terminal:
    """A pseudo-terminal that keeps what is written to it."""

    def __init__(self, lines, columns):
        self._main_fd, self.fd = pty.openpty()
        self.resize(lines, columns)
        os.set_blocking(self._main_fd, False)
        self._shown = b""

    def resize(self, lines, columns):
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, size)

    @property
    def shown(self):
        while True:
            try:
                chunk = os.read(self._main_fd, 65536)
            except OSError:
                break
            if not chunk:
                break
            self._shown += chunk
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    def wait_for(self, text, bound_s):
        """True once the text is shown."""
        give_up = time.monotonic() + bound_s
        while text not in self.shown and time.monotonic() < give_up:
            time.sleep(0.01)
        return text in self.shown

    def close(self):
        os.close(self._main_fd)
        os.close(self.fd)


@pytest.fixture
def terminal():
    terminal = Terminal(24, 120)
    yield terminal
    terminal.close()


def _start(box, terminal, *options):
    return box.start(
        "--gpus", "0,1", *options, stdout=terminal.fd, stderr=terminal.fd, env={"TERM": "xterm"}
    )


def _whole_screen(shown, lines=24):
    """The last scroll region that was set is the whole screen."""
    return RESET.findall(shown)[-1] == str(lines)


def test_progress_on_a_terminal(box, terminal, until):
    gate = box.gate()
    run = _start(box, terminal, "--bar")
    run.write(f"echo printed; {gate.wait}\ntrue\nfalse\n")
    until(lambda: "2/? done" in terminal.shown, lambda: repr(terminal.shown))
    assert RESET.findall(terminal.shown) == ["23"]
    assert "1 failed" in terminal.shown
    assert "1 running" in terminal.shown
    assert "gpu 0: #1" in terminal.shown
    run.end_input()
    until(lambda: "2/3 done" in terminal.shown, lambda: repr(terminal.shown))
    gate.open()
    assert run.ended().status == 1
    assert "3/3 done" in terminal.shown
    assert "\nprinted\n" in terminal.shown
    assert _whole_screen(terminal.shown)


def test_it_appears_on_a_terminal_without_being_asked_for(box, terminal):
    run = _start(box, terminal)
    run.write("true\n")
    assert run.ended().status == 0
    assert "1/1 done" in terminal.shown
    assert _whole_screen(terminal.shown)


def test_it_is_up_to_date_while_nothing_runs(box, terminal):
    run = _start(box, terminal)
    run.write("true\ntrue\ntrue\n")
    wait_s = 5
    seen = terminal.wait_for("3/? done  0 running", wait_s)
    assert run.ended().status == 0
    assert seen


def test_no_bar_by_choice(box, terminal):
    run = _start(box, terminal, "--no-bar")
    run.write("echo printed\n")
    assert run.ended().status == 0
    assert terminal.shown == "Processing command `echo printed` on gpu 0\nprinted\n"


def test_no_bar_on_a_terminal_that_understands_nothing(box, terminal):
    run = box.start("--gpus", "0", stderr=terminal.fd, env={"TERM": "dumb"})
    run.write("true\n")
    assert run.ended().status == 0
    assert "\x1b" not in terminal.shown


def test_no_bar_in_a_pipe(box):
    assert box.run(["true"], "--gpus", "0").err == ""


def test_plain_lines_in_a_pipe_by_choice(box):
    result = box.run(["true", "false"], "--gpus", "0", "--bar")
    assert "\x1b" not in result.err
    assert re.search(r"^\[#+\]  2/2 done  1 failed  0 running", result.err, re.MULTILINE)


def test_blank_lines_are_no_jobs_to_wait_for(box):
    result = box.run(["true", "", "false"], "--gpus", "0", "--bar")
    assert re.search(r"^\[#+\]  2/2 done  1 failed  0 running", result.err, re.MULTILINE)


def test_job_output_stays_intact(box, terminal):
    lines = [f"for i in 1 2 3 4 5 6 7 8 9; do echo line {n}-$i; done" for n in range(30)]
    run = _start(box, terminal, "--bar")
    run.write("".join(f"{line}\n" for line in lines))
    result_status = run.ended().status
    assert result_status == 0
    shown = terminal.shown
    for n in range(30):
        for i in range(1, 10):
            assert f"line {n}-{i}\n" in shown


@pytest.mark.parametrize(
    "numbers",
    [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT], [signal.SIGHUP, signal.SIGTERM]],
    ids=str,
)
def test_the_screen_is_given_back_on_an_interrupt(box, terminal, until, numbers):
    gate = box.gate()
    run = _start(box, terminal, "--bar")
    run.write(f"{gate.wait}\n")
    until(lambda: "1 running" in terminal.shown, lambda: repr(terminal.shown))
    for number in numbers[:-1]:
        run.send(number)
        until(lambda: "a second one ends" in terminal.shown, "the message")
    run.send(numbers[-1])
    assert run.ended(end_input=False).status == 128 + numbers[-1]
    assert _whole_screen(terminal.shown)
    assert "Traceback" not in terminal.shown


def test_the_screen_is_given_back_while_it_is_stopped(box, terminal, until, status_of):
    gate = box.gate()
    run = _start(box, terminal, "--bar")
    run.write(f"{gate.wait}\n")
    until(lambda: "1 running" in terminal.shown, lambda: repr(terminal.shown))
    run.send(signal.SIGTSTP)
    until(lambda: status_of(run.pid, "State").startswith("T"), "it stops")
    assert _whole_screen(terminal.shown)
    shown = terminal.shown
    run.send(signal.SIGCONT)
    gate.open()
    assert run.ended().status == 0
    assert terminal.shown.startswith(shown)
    assert _whole_screen(terminal.shown)


def test_a_terminal_that_changes_its_size(box, terminal, until):
    gate = box.gate()
    run = _start(box, terminal, "--bar")
    run.write(f"{gate.wait}\n")
    until(lambda: "1 running" in terminal.shown, lambda: repr(terminal.shown))
    terminal.resize(40, 30)
    run.send(signal.SIGWINCH)
    until(lambda: RESET.findall(terminal.shown)[-1] == "39", lambda: repr(terminal.shown))
    gate.open()
    assert run.ended().status == 0
    assert _whole_screen(terminal.shown, 40)


@pytest.mark.parametrize("size", [(0, 0), (1, 1), (2, 5), (3, 1)])
def test_a_terminal_of_no_use(box, terminal, size):
    terminal.resize(*size)
    run = _start(box, terminal, "--bar")
    run.write("echo printed\n")
    assert run.ended().status == 0
    assert "printed" in terminal.shown
    assert "Traceback" not in terminal.shown


def test_bar_with_events_on_stdout(box, terminal):
    run = box.start("--gpus", "0", "--bar", "--json", stderr=terminal.fd, env={"TERM": "xterm"})
    run.write("echo printed\n")
    result = run.ended()
    assert result.status == 0
    assert all(line.startswith("{") for line in result.out.splitlines())
    assert "printed" in terminal.shown
