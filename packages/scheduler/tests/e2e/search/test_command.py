"""The installed command in a real process, as a user and a shell meet it."""

import ast
import hashlib
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simple_gpu_scheduler.search
from profiles import examples

GRID = ("--sampling-mode", "grid")
DIGITS = tuple("0123456789")

AWKWARD = [
    "a b",
    "it's",
    '"x"',
    "$HOME",
    "*",
    "`id`",
    "\\",
    "",
    "ü",
    "日本",
    "é",
    "{}",
    "-1e-3",
    "\t",
]


@pytest.mark.parametrize(
    ("arguments", "order"),
    [
        (("{a}", "-p", "a", *"123456", "--seed", "0"), "5 3 2 1 6 4"),
        (("{a}", "-p", "a", *"123456", "--seed", "1"), "3 4 6 1 5 2"),
        (("{a}", "-p", "a", *"123456", "--seed", "3"), "1 3 4 6 5 2"),
        (("{a}", "-p", "a", *"123456", "--seed", "42"), "4 2 3 5 1 6"),
        (
            ("{a}{b}", "-p", "a", *"123", "-p", "b", *"xyz", "--seed", "3"),
            "1y 2z 3x 1x 3z 2y 3y 1z 2x",
        ),
        (
            ("{a}{b}", "-p", "a", *"123", "-p", "b", *"xyz", "--seed", "3", "--n-samples", "4"),
            "1y 2z 3x 1x",
        ),
    ],
)
def test_shuffles_are_those_of_simple_gpu_scheduler_0_1_4(hypersearch, arguments, order):
    assert hypersearch.lines(*arguments) == order.split()


def test_a_long_shuffle_is_that_of_simple_gpu_scheduler_0_1_4(hypersearch):
    values = [str(number) for number in range(1, 50_001)]
    ended = hypersearch("{a}", "-p", "a", *values, "--seed", "7")
    assert hashlib.md5(ended.bytes).hexdigest() == "d400df5620f3267ba05a09217c241768"


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), min_size=1, max_size=4)


@given(st.lists(st.lists(TEXT, min_size=1, max_size=4), min_size=1, max_size=3), st.data())
@settings(max_examples=examples(1 / 4))
def test_a_grid_is_that_of_itertools_and_format(hypersearch, lists, data):
    lists = [[f".{value}" for value in values] for values in lists]
    names = "abc"[: len(lists)]
    fields = [f"{{{name}}}" for name in names] + ["{a!r}", "{a:>5}", " {{x}} "]
    pattern = "".join(data.draw(st.permutations(fields)))
    pairs = zip(names, lists, strict=True)
    argv = [token for name, values in pairs for token in ("-p", name, *values)]
    expected = [
        pattern.format(**dict(zip(names, values, strict=True))) + "\n"
        for values in itertools.product(*lists)
    ]
    ended = hypersearch(pattern, *argv, *GRID)
    assert (ended.status, ended.bytes) == (0, "".join(expected).encode())


def test_awkward_values_go_through_as_they_are(hypersearch):
    ended = hypersearch("x {a}", "-p", "a", *AWKWARD, *GRID)
    assert ended.bytes.decode() == "".join(f"x {value}\n" for value in AWKWARD)


def test_quoted_values_are_what_the_shell_hands_on(hypersearch):
    script = hypersearch("printf '%s\\0' {a}", "-p", "a", *AWKWARD, *GRID, "--quote")
    done = subprocess.run(["bash"], input=script.bytes, capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == AWKWARD


def test_newlines_need_null(hypersearch):
    message = hypersearch.error("{a}", "-p", "a", "x\ny")
    assert message.startswith("a value of -p a holds a newline")
    assert "--null" in message
    assert hypersearch("{a}", "-p", "a", "x\ny", "z", *GRID, "-0").bytes == b"x\ny\0z\0"


def test_bytes_that_are_no_text_pass_untouched(hypersearch):
    ended = hypersearch(b"\xff {a} {name}", "-p", "a", b"\xe9\x80", "b", *GRID, "--name")
    assert ended.bytes == b"\xff \xe9\x80 a=%E9%80\n\xff b a=b\n"


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "POSIX"])
def test_bytes_pass_in_any_locale(hypersearch, locale):
    environment = {"LC_ALL": locale, "PATH": os.environ["PATH"]}
    argv = [hypersearch.path.encode(), b"\xc3\xbc {a}", b"-p", b"a", b"\xff"]
    assert subprocess.check_output(argv, env=environment) == b"\xc3\xbc \xff\n"


def test_five_of_a_grid_of_10_to_the_18(hypersearch):
    argv = [token for n in range(18) for token in ("-p", f"p{n}", *DIGITS)]
    pattern = "".join(f"{{p{n}}}" for n in range(18))
    found = hypersearch.lines(pattern, *argv, "--n-samples", "5", "--seed", "1")
    assert len({*found}) == 5
    assert all(len(line) == 18 and line.isdecimal() for line in found)
    assert hypersearch.lines(pattern, *argv, "--count") == [str(10**18)]


@pytest.mark.parametrize("mode", ["grid", "shuffled_grid"])
def test_a_large_grid_takes_little_memory(hypersearch, mode):
    argv = [token for name in "abcdef" for token in ("-p", name, *DIGITS)]
    pattern = "x {a} {b} {c} {d} {e} {f}"
    # A bound, not a look at getrusage(2): that begins with the memory of the parent.
    limited = ["sh", "-c", 'ulimit -d 40000; exec "$@"', "sh", hypersearch.path, pattern]
    with subprocess.Popen(
        [*limited, *argv, "--sampling-mode", mode], stdout=subprocess.PIPE
    ) as process:
        size = sum(len(block) for block in iter(lambda: process.stdout.read(2**20), b""))
    assert process.returncode == 0
    assert size == 10**6 * len("x 0 0 0 0 0 0\n")


def test_the_first_line_does_not_wait_for_the_others(hypersearch):
    argv = [hypersearch.path, "{a}", "-p", "a", "int:1:1000000000000", "--exclude", "a > 1", *GRID]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"1\n"
        process.terminate()


def test_a_line_before_a_long_search_for_the_next_does_not_wait(hypersearch):
    argv = [hypersearch.path, "{a}", "-p", "a", "int:1:1000000000000", "--exclude", "a > 3", *GRID]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert [process.stdout.readline() for _ in range(3)] == [b"1\n", b"2\n", b"3\n"]
        process.terminate()


def test_a_reader_that_has_enough_ends_it_quietly(hypersearch):
    script = """"$S" '{a}' -p a int:1:100000000 --seed 1 | head -n 1; echo "${PIPESTATUS[0]}" """
    done = hypersearch.shell(script)
    assert done.stdout.splitlines()[1:] == [b"141"]
    assert done.stderr == b""


@pytest.mark.parametrize("count", ["3", "1000000"])
def test_a_full_disk_is_an_error(hypersearch, count):
    done = hypersearch.shell(f"""exec "$S" '{{a}}' -p a int:1:{count} > /dev/full""")
    assert done.returncode == 1
    assert done.stderr == (
        b"simple_hypersearch: error: can't write the commands: No space left on device\n"
    )


def test_a_closed_output_is_an_error(hypersearch):
    done = hypersearch.shell("""exec "$S" '{a}' -p a 1 >&-""")
    assert done.returncode == 1
    assert b"error: can't write the commands: standard output is closed" in done.stderr
    assert hypersearch.shell("""exec "$S" '{a}' -p a 1 >&- 2>&-""").returncode == 1


@pytest.mark.parametrize("errors", ["2>&-", "2> /dev/full"])
def test_the_status_tells_of_an_error_even_where_the_message_cannot_be_written(
    hypersearch, errors
):
    done = hypersearch.shell(f"""exec "$S" '{{b}}' -p a 1 {errors}""")
    assert (done.returncode, done.stdout) == (2, b"")


def test_a_pipe_that_does_not_block_gets_everything(hypersearch):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    argv = [hypersearch.path, "{a}", "-p", "a", "int:1:100000", *GRID]
    with subprocess.Popen(argv, stdout=writing) as process, open(reading, "rb") as output:
        os.close(writing)
        assert output.read().count(b"\n") == 100_000
    assert process.returncode == 0


def test_an_interrupt_leaves_no_traceback(hypersearch):
    argv = [hypersearch.path, "{a}", "-p", "a", "int:1:1000000000000", "--exclude", "a > 1", *GRID]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, **pipes) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (130, b"", b"")


def test_all_that_the_search_imports_comes_with_python():
    folder = Path(simple_gpu_scheduler.search.__file__).parent
    nodes = [
        node for path in folder.glob("*.py") for node in ast.walk(ast.parse(path.read_text()))
    ]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    ours = ("simple_gpu_scheduler.search", "simple_gpu_scheduler.errors")
    foreign = {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}
    assert all(name.startswith(ours) for name in foreign)


def test_help_and_version(hypersearch):
    assert hypersearch.lines("--help") == hypersearch.lines("-h", "{a", "-p")
    text = "\n".join(hypersearch.lines("--help"))
    for option in ("--sampling-mode", "--link", "--exclude", "--quote", "--null", "--count"):
        assert option in text
    assert hypersearch.lines("--version")[0].startswith("simple_hypersearch ")


def test_the_start_imports_no_slow_modules():
    script = (
        "import sys; bare = set(sys.modules)\n"
        "from simple_gpu_scheduler.cli.search import main\n"
        "main(['{a}', '-p', 'a', '1', '2']); print(*(set(sys.modules) - bare))"
    )
    loaded = subprocess.check_output([sys.executable, "-c", script], text=True).split()
    assert not {"argparse", "dataclasses", "decimal", "inspect", "re", "typing"} & {*loaded}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x ${HOME} {a}", "-p", "a", "1"), "the command has {HOME}, but there is no -p HOME"),
        (("x {", "-p", "a", "1"), "single '{' at character 3"),
        (("-p", "lr", "1", "2", "cmd {lr}"), "no command given; 'cmd {lr}' was read as a value"),
        (("{a", "-p", b"\xff", "1"), "single '{' at character 1"),
        (("{a}", "-p", "a", "1", "--exclude", "a\n> '\n'"), "--exclude"),
        (("{a}{b}", "-p", "a", "x", "-p", "b", "1", "--exclude", "a<b"), "'a=x, b=1'"),
        ((), "no command given"),
    ],
)
def test_errors_are_one_line_with_status_2(hypersearch, arguments, message):
    assert message in hypersearch.error(*arguments)


def test_a_misspelt_option_is_said_and_may_be_a_value(hypersearch):
    message = hypersearch.error("{a}", "-p", "a", "1", "2", "--sampling_mode", "grid")
    assert message == (
        "'--sampling_mode' after -p a: did you mean --sampling-mode? If it is a value, write "
        "'=--sampling_mode'"
    )
    assert hypersearch.lines("{a}", "-p", "a", "=--n-smaples", "=x") in (
        ["--n-smaples", "=x"],
        ["=x", "--n-smaples"],
    )


def test_an_empty_search_has_status_1(hypersearch):
    message = hypersearch.error("{a}", "-p", "a", "1", "--exclude", "a == 1", status=1)
    assert "leaves nothing" in message


def test_lines_before_a_late_error_are_printed(hypersearch):
    ended = hypersearch("{a}", "-p", "a", "2", "3", "x", *GRID, "--exclude", "a < 1")
    assert (ended.status, ended.bytes) == (2, b"2\n3\n")
