"""Who gets which GPU: never more than there is, in order, and nobody starves."""

import itertools
from collections import Counter

import pytest

LOG = 'echo "start $SGS_SEQ $CUDA_VISIBLE_DEVICES" >> stamps'


def _job(middle):
    """Stamps its start and its end; one write each, so that the file has them in order."""
    return f"{LOG}; {middle}; {LOG.replace('start', 'end')}"


def _most_at_once(stamps):
    """By GPU, how many jobs it had at most at a time."""
    now, most = Counter(), Counter()
    for stamp in stamps:
        what, _, gpus = stamp.split()
        for gpu in gpus.split(","):
            now[gpu] += 1 if what == "start" else -1
            most[gpu] = max(most[gpu], now[gpu])
    assert not +now
    return most


def test_no_gpu_is_used_twice_at_once(box):
    jobs = [_job(f"sleep 0.00{n % 7}") for n in range(120)]
    result = box.run(jobs, "--gpus", "0,1,2,3")
    assert result.status == 0
    stamps = box.read("stamps")
    assert len(stamps) == 240
    assert _most_at_once(stamps) == {"0": 1, "1": 1, "2": 1, "3": 1}


def test_jobs_per_gpu_fills_each_gpu_and_no_further(box):
    gate = box.gate()
    run = box.start("--gpus", "0,1", "--jobs-per-gpu", "3")
    run.write(f"{_job(gate.wait)}\n" * 20)
    box.wait_lines("stamps", 6)
    assert Counter(s.split()[2] for s in box.read("stamps")) == {"0": 3, "1": 3}
    gate.open(20)
    assert run.ended().status == 0
    assert _most_at_once(box.read("stamps")) == {"0": 3, "1": 3}


def test_gpus_per_job(box):
    result = box.run([_job("true")] * 40, "--gpus", "a,b,c,d,e", "--gpus-per-job", "2")
    assert result.status == 0
    stamps = box.read("stamps")
    assert all(len(set(stamp.split()[2].split(","))) == 2 for stamp in stamps)
    assert set(_most_at_once(stamps).values()) == {1}


def test_a_mixture_of_everything_books_nothing_twice(box):
    sizes = itertools.cycle([1, 3, 2, 1, 1, 2, 4])
    jobs = [f"{_job('sleep 0.002')} # sgs: gpus={next(sizes)}" for _ in range(100)]
    result = box.run(jobs, "--gpus", "0,1,2,3")
    assert result.status == 0
    stamps = box.read("stamps")
    assert len(stamps) == 200
    assert _most_at_once(stamps) == {"0": 1, "1": 1, "2": 1, "3": 1}


def test_shares_of_different_size_fill_a_gpu_exactly(box):
    gate = box.gate()
    run = box.start("--gpus", "0")
    run.write(f"{_job(gate.wait)} # sgs: jobs-per-gpu=2\n")
    run.write(f"{_job(gate.wait)} # sgs: jobs-per-gpu=3\n")
    run.write(f"{_job(gate.wait)} # sgs: jobs-per-gpu=6\n")
    run.write(f"{_job('true')} # sgs: jobs-per-gpu=64\n")
    box.wait_lines("stamps", 3)
    gate.open()
    box.wait_lines("stamps", 4)
    gate.open(2)
    assert run.ended().status == 0
    stamps = [stamp.split() for stamp in box.read("stamps")]
    assert sorted(stamp[1] for stamp in stamps[:3]) == ["1", "2", "3"]
    assert stamps[3][0] == "end"


def test_ten_thousand_jobs_run_once_each(box, each_once):
    result = box.run("echo $SGS_SEQ >> ran\n" * 10_000, "--gpus", "0,1,2,3")
    assert result.status == 0
    each_once(map(int, box.read("ran")), range(1, 10_001))
    assert len(result.processing) == 10_000


def test_jobs_start_in_the_order_of_the_input(box):
    result = box.run([f"true {n}" for n in range(300)], "--gpus", "0,1,2")
    assert [line.split()[3] for line in result.processing] == [f"{n}`" for n in range(300)]


def test_a_freed_gpu_is_taken_by_the_next_job(box):
    one, two = box.gate("one"), box.gate("two")
    run = box.start("--gpus", "0,1")
    run.write(f"{_job(one.wait)}\n{_job(two.wait)}\n{_job('true')}\n")
    box.wait_lines("stamps", 2)
    two.open()
    stamps = box.wait_lines("stamps", 5)
    assert stamps[2:] == ["end 2 1", "start 3 1", "end 3 1"]
    one.open()
    assert run.ended().status == 0


def test_a_job_of_several_gpus_does_not_starve_behind_single_ones(box):
    gate, other = box.gate(), box.gate("other")
    run = box.start("--gpus", "0,1")
    run.write(f"{_job(gate.wait)}\n{_job(other.wait)}\n{_job('true')} # sgs: gpus=2\n")
    run.write(f"{_job('true')}\n" * 50)
    box.wait_lines("stamps", 2)
    gate.open()
    assert box.wait_lines("stamps", 3)[2] == "end 1 0"
    other.open()
    assert run.ended().status == 0
    stamps = box.read("stamps")
    assert [stamp.rsplit(" ", 1)[0] for stamp in stamps[3:6]] == ["end 2", "start 3", "end 3"]


@pytest.mark.parametrize(
    ("line", "gpus"),
    [
        ("printenv CUDA_VISIBLE_DEVICES # sgs: gpus=2", 2),
        ("printenv CUDA_VISIBLE_DEVICES #sgs:gpus=2", 2),
        ("printenv CUDA_VISIBLE_DEVICES;# sgs: gpus=2  ", 2),
        ("printenv CUDA_VISIBLE_DEVICES # sgs: gpus=1 timeout=9h retries=2 gpus=3", 3),
        ('printenv CUDA_VISIBLE_DEVICES; true "it\'s" \'a "b\' \\" # sgs: gpus=2', 2),
        ("printenv CUDA_VISIBLE_DEVICES; echo '# sgs: gpus=2' > quoted", 1),
        ('printenv CUDA_VISIBLE_DEVICES; echo " # sgs: gpus=2" > quoted', 1),
        ("printenv CUDA_VISIBLE_DEVICES; echo no# sgs: gpus=2 > word", 1),
        ("printenv CUDA_VISIBLE_DEVICES; echo \\# sgs: gpus=2 > escaped", 1),
        ("printenv CUDA_VISIBLE_DEVICES # plain comment", 1),
        ("printenv CUDA_VISIBLE_DEVICES # sgs: gpus=2 \r", 2),
    ],
)
def test_directives_and_what_only_looks_like_one(box, line, gpus):
    result = box.run([line], "--gpus", "0,1,2")
    assert result.status == 0
    assert len(result.out.strip().split(",")) == gpus


@pytest.mark.parametrize(
    "script",
    [
        "#SGS gpus=2\nprintenv CUDA_VISIBLE_DEVICES\n",
        "#!/bin/sh\n# so\n#SGS timeout=1h\n#SGS gpus=2 retries=1\nprintenv CUDA_VISIBLE_DEVICES",
        "\n#SGS\tgpus=2\nprintenv CUDA_VISIBLE_DEVICES\n",
        "true\nprintenv CUDA_VISIBLE_DEVICES # sgs: gpus=2\n",
        "echo 'it # sgs: gpus=3\n' > x\nprintenv CUDA_VISIBLE_DEVICES # sgs: gpus=2\n",
    ],
)
def test_directives_of_a_script(box, script):
    result = box.run(f"{script}\0", "--gpus", "0,1,2", "-0")
    assert (result.status, result.out) == (0, "0,1\n")


def test_a_head_line_between_commands_is_a_comment(box):
    script = "printenv CUDA_VISIBLE_DEVICES\n#SGS gpus=2\ntrue\n\0"
    result = box.run(script, "--gpus", "0,1", "-0")
    assert result.out == "0\n"


@pytest.mark.parametrize(
    ("line", "asks"),
    [
        ("printenv CUDA_VISIBLE_DEVICES # it's big # sgs: gpus=2", "\n"),
        ("# don't worry\nprintenv CUDA_VISIBLE_DEVICES # sgs: gpus=2", "\0"),
    ],
)
def test_an_apostrophe_in_a_comment_hides_no_directive(box, line, asks):
    options = ["-0"] if asks == "\0" else []
    assert box.run(f"{line}{asks}", "--gpus", "0,1", *options).out == "0,1\n"


@pytest.mark.parametrize(
    ("directive", "words"),
    [
        ("gpu=2", "unknown directive 'gpu'"),
        ("gpus=0", "'gpus=0'"),
        ("gpus=x", "'gpus=x'"),
        ("gpus=-1", "'gpus=-1'"),
        ("gpus=2.0", "'gpus=2.0'"),
        ("gpus=\u0662", "gpus="),
        ("gpus=", "'gpus='"),
        ("gpus", "KEY=VALUE"),
        ("gpus=4", "asks for 4 GPUs, but there are only 3"),
        ("gpus=999999999", "only 3"),
        ("jobs-per-gpu=0", "jobs-per-gpu=0"),
        ("jobs-per-gpu=65", "1 to 64"),
        ("timeout=soon", "timeout"),
        ("timeout=-1", "timeout"),
        ("retries=-1", "retries=-1"),
        ("gpus=1, timeout=1s", "gpus=1,"),
    ],
)
def test_a_directive_that_cannot_be_met_fails_its_line_only(box, directive, words):
    lines = ["echo before >> got", f"echo bad >> got # sgs: {directive}", "echo after >> got"]
    result = box.run(lines, "--gpus", "0,1,2")
    assert result.status == 1
    assert sorted(box.read("got")) == ["after", "before"]
    assert result.said[0].startswith("error: line 2: ")
    assert words in result.said[0]
    assert f"# sgs: {directive}" in result.said[0]
    assert result.said[1:] == ["1 of 3 jobs failed"]


def test_a_directive_beats_the_option(box):
    options = ["--gpus", "0,1,2", "--gpus-per-job", "2", "--retries", "3"]
    result = box.run(["printenv CUDA_VISIBLE_DEVICES; false # sgs: gpus=1 retries=1"], *options)
    assert result.out == "0\n"


def test_more_gpus_a_job_than_there_are(box):
    result = box.run(["touch ran"], "--gpus", "0", "--gpus-per-job", "2")
    assert result.status == 2
    assert "--gpus-per-job asks for 2 GPUs, but there is only 1" in result.said[0]
    assert box.read("ran") == []
