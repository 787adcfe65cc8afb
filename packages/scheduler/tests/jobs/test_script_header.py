"""What a script says at its head, and who runs it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.jobs.script_header import has_header, parse_header, parse_interpreter
from simple_gpu_scheduler.queue.wrapped_command import as_script, frozen, own_command


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (b"#SGS --gpus 2 --name 'a b'\ntrue", ["--gpus", "2", "--name", "a b"]),
        (b"#!/bin/sh\n# note\n\n  #SGS gpus=2 vram=10G  # why\n", ["--gpus=2", "--vram=10G"]),
        (b"#SGS: --hold\r\n# sgs: priority=5\r\n", ["--hold", "--priority=5"]),
        (b"# Sgs timeout=1h\n#sgs:retries=3", ["--timeout=1h", "--retries=3"]),
        (b"#SGS --name \xff\n", ["--name", "\udcff"]),
        (b"true\n#SGS --gpus 2\n", []),
        (b"# sgs is a command\n# sgs results --sort=loss\n#sgsgpus=2\n#SGSx\n", []),
        (b"", []),
    ],
)
def test_options_at_the_head(text: bytes, options: list[str]) -> None:
    assert parse_header(text, "s.sh") == options
    assert has_header(text) == bool(options)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"#SGS gpus 2", "'#SGS gpus 2': expected options such as --gpus 2"),
        (b"#SGS", "expected options"),
        (b"#SGS # nothing", "expected options"),
        (b"# sgs: gpus", "expected options"),
        (b'#SGS --name "x', "No closing quotation"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=r"^line 2 of s\.sh: ") as caught:
        parse_header(b"#!/bin/sh\n" + line + b"\ntrue\n", "s.sh")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (b"#!/bin/bash", [b"/bin/bash"]),
        (b"#! /usr/bin/env\tpython3  -u ", [b"/usr/bin/env", b"python3  -u"]),
        (b"#!/odd\xff -e\n", [b"/odd\xff", b"-e"]),
        (b"#!", [b"/bin/sh"]),
        (b"echo", [b"/bin/sh"]),
        (b" #!/bin/bash", [b"/bin/sh"]),
    ],
)
def test_who_runs_it(first: bytes, words: list[bytes]) -> None:
    assert parse_interpreter(first + b"\n#!/bin/false\n") == words


def test_lines_of_dos_run_nowhere() -> None:
    with pytest.raises(UsageError, match="DOS"):
        parse_interpreter(b"#!/bin/sh\r\ntrue\r\n")


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_text_is_a_traceback(first: bytes, second: bytes) -> None:
    for text in (first, b"#SGS " + first + b"\n#SGS " + second, b"#!" + first):
        with contextlib.suppress(UsageError):
            assert bool(parse_header(text, "s")) <= has_header(text)
        with contextlib.suppress(UsageError):
            assert parse_interpreter(text)


@given(st.binary())
def test_what_stands_before_a_command_comes_off_again(command: bytes) -> None:
    assert own_command(frozen(b"echo" + command)) == b"echo" + command
    assert own_command(frozen(as_script(command))) == command
