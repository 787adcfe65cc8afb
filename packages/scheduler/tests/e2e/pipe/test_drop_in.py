"""What people and scripts know of simple_gpu_scheduler 0.1 works as it did."""

import pytest


def test_says_which_command_runs_on_which_gpu(box):
    result = box.run(["true"], "--gpus", "0")
    assert result.raw_out == "Processing command `true` on gpu 0\n"
    assert (result.status, result.err) == (0, "")


def test_says_nothing_of_starts_by_choice(box):
    result = box.run(["echo a", "false"], "--gpus", "0", "--quiet")
    assert result.raw_out == "a\n"
    assert len(result.said) == 2


@pytest.mark.parametrize(
    "words",
    [["0", "1", "2"], ["0,1,2"], ["0,1", "2"], ["0", "1,2"]],
    ids=" ".join,
)
def test_gpus_may_be_separated_by_spaces_and_commas(box, words):
    gate = box.gate()
    run = box.start("--gpus", *words)
    run.write(f'echo "$CUDA_VISIBLE_DEVICES" >> got; {gate.wait}\n' * 3)
    assert sorted(box.wait_lines("got", 3)) == ["0", "1", "2"]
    gate.open(3)
    assert run.ended().status == 0


@pytest.mark.parametrize(
    "gpu",
    [
        "7",
        "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6",
        "MIG-GPU-8932f937-d72c-4106-c12f-20bd9faed9f6/1/2",
        "my_slot",
        "caf\u00e9",
        "$HOME",
        "a'b\"c`d",
    ],
)
def test_ids_are_free_strings(box, gpu):
    result = box.run(["printenv CUDA_VISIBLE_DEVICES"], "--gpus", gpu, env={"PYTHONUTF8": "1"})
    assert result.out == f"{gpu}\n"
    assert result.processing == [
        f"Processing command `printenv CUDA_VISIBLE_DEVICES` on gpu {gpu}"
    ]


def test_a_job_sees_its_card_as_nvidia_smi_numbers_it(box):
    env = {"CUDA_VISIBLE_DEVICES": "5,6", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
    result = box.run(['echo "$CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER"'], "--gpus", "3", env=env)
    assert result.out == "3 PCI_BUS_ID\n"


def test_a_job_has_the_environment_and_the_folder_of_the_scheduler(box):
    env = {"AWKWARD": "a 'b' \"c\" \\ $d\n# e \u00e9"}
    result = box.run(['printf %s "$AWKWARD"; pwd >&2'], "--gpus", "0", env=env)
    assert result.out == env["AWKWARD"]
    assert str(box.path) in result.err


AWKWARD = [
    ("echo 'single  spaced' \"double  spaced\"", "single  spaced double  spaced"),
    ("echo one && echo two || echo three; echo four", "one\ntwo\nfour"),
    ("printf 'b\\na\\n' | sort | tr a-z A-Z", "A\nB"),
    ("echo kept > 'a file'; cat < 'a file'", "kept"),
    ("(echo out; echo err >&2) 2>&1 | cat", "out\nerr"),
    ("echo a\\ \\ b \\\\", "a  b \\"),
    ("echo $((6 * 7)) ${NONE:-default} $(echo sub) `echo back`", "42 default sub back"),
    ("echo '#' not # but this is a comment", "# not"),
    ("echo na\u00efve \u65e5\u672c\u8a9e \U0001f600", "na\u00efve \u65e5\u672c\u8a9e \U0001f600"),
    ("echo '$HOME' \"$((1))$\" \\$x", "$HOME 1$ $x"),
    ("for i in 1 2 3; do printf $i; done; echo", "123"),
    ("   echo leading and trailing   ", "leading and trailing"),
    ("\techo tab\t", "tab"),
    ("echo %s %d {} {1} ::: \\{\\}", "%s %d {} {1} ::: {}"),
    ("x='a=b;c'; echo \"$x\" & wait", "a=b;c"),
    ("[ -t 0 ] || echo no terminal", "no terminal"),
    ("! false && echo negated", "negated"),
    ("exec echo replaced", "replaced"),
    ('echo `echo "it\'s"`', "it's"),
    ('echo "a\u2028b\u0085c"', "a\u2028b\u0085c"),
]


@pytest.mark.parametrize(("command", "printed"), AWKWARD, ids=[c for c, _ in AWKWARD])
def test_a_line_is_a_shell_command(box, command, printed):
    result = box.run(f"{command}\n", "--gpus", "0")
    assert result.out_bytes == f"{printed}\n".encode()
    assert result.status == 0
    assert result.processing == [f"Processing command `{command.rstrip()}` on gpu 0"]


def test_commands_of_several_lines_through_null(box):
    script = "cat <<'END'\n  it's \"here\" \\n $x\nEND\nif true\nthen echo yes\nfi\n"
    result = box.run(f"{script}\0echo second\0", "--gpus", "0", "--null")
    assert result.out == '  it\'s "here" \\n $x\nyes\nsecond\n'
    assert len(result.processing) == 2
    assert box.run("echo a\necho b\0", "--gpus", "0", "-0").out == "a\nb\n"


def test_bin_sh_runs_the_commands(box):
    result = box.run(['echo "$0"', 'readlink "/proc/$$/exe"; true'], "--gpus", "0")
    assert result.out.splitlines()[0] == "/bin/sh"


def test_another_shell_by_choice(box):
    bashism = 'a=(x "y z"); [[ ${a[1]} == y* ]] && echo "${a[1]^^}" <(true) | cut -c1-3'
    for shell in ("bash", "/bin/bash"):
        result = box.run([bashism], "--gpus", "0", "--shell", shell)
        assert (result.status, result.out) == (0, "Y Z\n")


def test_a_shell_by_a_relative_path(box):
    (box.path / "my shell").write_text('#!/bin/sh\necho "mine: $1 $2"\n')
    (box.path / "my shell").chmod(0o755)
    assert box.run(["a b"], "--gpus", "0", "--shell", "./my shell").out == "mine: -c a b\n"


@pytest.mark.parametrize("shell", ["no-such-shell", "/no/such/shell", "", ".", "/etc/passwd"])
def test_an_unknown_shell_is_an_error_before_anything_runs(box, shell):
    result = box.run(["touch ran"], "--gpus", "0", "--shell", shell)
    assert result.status == 2
    assert "--shell" in result.said[0]
    assert repr(shell) in result.said[0]
    assert not (box.path / "ran").exists()


def test_output_passes_through_untouched(box):
    (box.path / "bytes").write_bytes(bytes(range(256)) * 50)
    result = box.run(["cat bytes", "cat bytes >&2"], "--gpus", "0", "--quiet")
    assert result.out_bytes == bytes(range(256)) * 50
    assert result.err.encode(errors="surrogateescape") == bytes(range(256)) * 50


def test_a_failed_job_shows_in_the_exit_status_and_is_named(box):
    result = box.run(["true", "echo 'it''s'; exit 3", "kill -9 $$", "true"], "--gpus", "0")
    assert result.status == 1
    assert len(result.said) == 3
    assert result.said[0].startswith("job 2 failed with exit status 3 after ")
    assert result.said[0].endswith(": `echo 'it''s'; exit 3`")
    assert result.said[1].startswith("job 3 was ended by SIGKILL after ")
    assert result.said[2] == "2 of 4 jobs failed"


@pytest.mark.parametrize("code", [1, 2, 126, 127, 128, 130, 255])
def test_every_failure_of_a_job_is_exit_status_1(box, code):
    assert box.run([f"exit {code}"], "--gpus", "0").status == 1


def test_nothing_to_run_is_success(box):
    result = box.run("", "--gpus", "0")
    assert (result.status, result.out, result.err) == (0, "", "")


def test_a_job_that_ends_its_process_group_ends_only_itself(box):
    gate = box.gate()
    run = box.start("--gpus", "0,1")
    run.write(f"echo >> up; {gate.wait}; echo finished\n")
    box.wait_lines("up", 1)
    run.write("kill -TERM 0\n")
    run.wait_err("SIGTERM")
    gate.open()
    result = run.ended()
    assert (result.status, result.out) == (1, "finished\n")


def test_a_scheduler_within_a_job(box):
    inner = 'printf \'echo in:$CUDA_VISIBLE_DEVICES\\n\' | "$S" --gpus "$CUDA_VISIBLE_DEVICES"'
    result = box.run([inner, inner], "--gpus", "3", env={"S": box.command})
    assert (result.status, result.out) == (0, "in:3\nin:3\n")


def test_children_that_it_has_from_before_are_not_its_jobs(box):
    run = box.shell(
        "sh -c 'exit 9' & sleep 0.01 & printf 'sleep 0.05\\nfalse\\n' > in;"
        'exec "$S" --gpus 0 < in'
    )
    result = run.ended()
    assert result.said[-1] == "1 of 2 jobs failed"


def test_version_and_help(box):
    from simple_gpu_scheduler import __version__

    assert box.run("", "--version").out == f"simple_gpu_scheduler {__version__}\n"
    help_text = box.run("", "--help").out
    for option in ("--gpus", "--joblog", "--null", "--halt", "--retries", "--bar", "--json"):
        assert option in help_text
