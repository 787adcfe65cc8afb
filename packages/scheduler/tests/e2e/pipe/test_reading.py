"""stdin is read lazily, from whatever it is, and belongs to the scheduler alone."""

import os
import subprocess

import pytest


def test_a_line_starts_although_stdin_stays_open(box):
    run = box.start("--gpus", "0")
    run.write("echo one >> got\n")
    assert box.wait_lines("got", 1) == ["one"]
    run.write("echo two >> got\n")
    assert box.wait_lines("got", 2) == ["one", "two"]
    assert run.ended().status == 0


def test_half_a_line_waits_for_its_end(box):
    run = box.start("--gpus", "0,1")
    run.write("echo whole >> got\necho ha")
    box.wait_lines("got", 1)
    run.write("lf >> got")
    run.wait_starts(1)
    run.write("\n")
    assert box.wait_lines("got", 2) == ["whole", "half"]
    assert run.ended().status == 0


def test_a_gpu_takes_the_next_line_while_others_run(box):
    gate = box.gate()
    run = box.start("--gpus", "0,1")
    run.write(f"echo long >> got; {gate.wait}\n")
    box.wait_lines("got", 1)
    for number in range(5):
        run.write(f"echo {number} >> got\n")
        box.wait_lines("got", number + 2)
    gate.open()
    assert run.ended().status == 0


def test_a_line_appended_to_a_followed_file_starts_at_once(box, until):
    gate = box.gate()
    queue = box.path / "gpu.queue"
    queue.write_text("echo old >> got\n")
    follow = ["tail", "-f", "-n", "0", "gpu.queue"]
    tail = box.start(command=follow, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

    def watches():
        folder = f"/proc/{tail.pid}/fd"
        try:
            links = [os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)]
        except FileNotFoundError:  # it has closed one meanwhile
            return False
        return str(queue) in links and "anon_inode:inotify" in links

    until(watches, "tail watches the file")
    run = box.start("--gpus", "0,1", stdin=tail.process.stdout)
    for number in range(3):
        with open(queue, "a") as file:
            file.write(f"echo {number} >> got; {gate.wait if number == 0 else ''}\n")
        assert box.wait_lines("got", number + 1) == [str(n) for n in range(number + 1)]
    gate.open()
    tail.process.terminate()
    assert run.ended().status == 0


def test_from_a_fifo_with_several_writers(box):
    os.mkfifo(box.path / "queue")
    run = box.shell('exec "$S" --gpus 0 < queue')
    with open(box.path / "queue", "w") as writer:
        for number in range(3):
            subprocess.run(
                ["sh", "-c", f"echo 'echo {number} >> got' > queue"], cwd=box.path, check=True
            )
            box.wait_lines("got", number + 1)
        writer.write("echo last >> got\n")
    assert run.ended().status == 0
    assert box.read("got") == ["0", "1", "2", "last"]


def test_from_a_file_that_is_read_to_its_end_only(box):
    assert box.run("echo a\necho b\n", "--gpus", "0").out == "a\nb\n"


@pytest.mark.parametrize(
    ("data", "printed"),
    [
        (b"echo a\necho b", "a\nb\n"),
        (b"echo a\r\necho b\r\n", "a\nb\n"),
        (b"echo a\r\necho b\r", "a\nb\n"),
        (b"\n\necho a\n\n\necho b\n\n", "a\nb\n"),
        (b" \n\t\n\r\n \t\r\n\x0b\x0c\necho a\n  ", "a\n"),
        (b"\n", ""),
        (b"   ", ""),
        (b"\r\n", ""),
        (b"# only a comment\necho a\n", "a\n"),
        (b"printf 'a\\\\\\n'; true \\\necho b\n", "a\\\nb\n"),
    ],
)
def test_line_ends_and_blank_lines(box, data, printed):
    result = box.run(data, "--gpus", "0")
    assert (result.status, result.out) == (0, printed)
    assert len(result.processing) == printed.count("\n") + data.count(b"# only")


def test_blank_lines_take_no_gpu(box):
    gate = box.gate()
    run = box.start("--gpus", "0,1")
    run.write(f"{gate.wait}\n\n \n\t\n\r\necho through >> got\n")
    box.wait_lines("got", 1)
    gate.open()
    assert len(run.ended().processing) == 2


@pytest.mark.parametrize("data", [b"\0\0echo a\0 \n\t\0echo b\0", b"\0\necho a\n\0echo b"])
def test_blank_records_through_null(box, data):
    result = box.run(data, "--gpus", "0", "-0")
    assert (result.status, result.out) == (0, "a\nb\n")
    assert len(result.processing) == 2


@pytest.mark.parametrize("options", [[], ["--results", "r"], ["--json"]], ids=str)
def test_a_job_that_reads_stdin_does_not_swallow_the_queue(box, options):
    result = box.run(["cat > swallowed; head -c 5", "echo rest >> got"], "--gpus", "0", *options)
    assert result.status == 0
    assert box.read("got") == ["rest"]
    assert (box.path / "swallowed").read_bytes() == b""


def test_of_the_scheduler_a_job_inherits_its_lease_and_no_other_descriptor(box):
    result = box.run(
        ["ls /proc/self/fd"], "--gpus", "0", "--joblog", "log", "--json", "events", "--no-bar"
    )
    *low, lease = sorted(map(int, result.out.split()))
    assert low == [0, 1, 2, 3]  # 3 is the folder that ls reads
    assert lease >= 100


def test_no_more_is_read_than_is_needed_soon(box):
    gate = box.gate()
    source = box.path / "commands"
    source.write_text(f"{gate.wait}; echo first\n" + "true\n" * 200_000)
    with open(source, "rb") as file:
        run = box.start("--gpus", "0", "--halt", "soon,done=1", stdin=file)
        run.wait_starts(1)
        gate.open()
        assert run.ended().out == "first\n"
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) <= 3 * 65536


def test_stdin_that_does_not_block(box):
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    run = box.start("--gpus", "0", stdin=read_fd)
    run.wait_ready()
    os.write(write_fd, b"echo a >> got\n")
    box.wait_lines("got", 1)
    os.write(write_fd, b"echo b >> got\n")
    os.close(write_fd)
    os.close(read_fd)
    assert run.ended().status == 0
    assert box.read("got") == ["a", "b"]


def test_a_terminal_is_told_that_commands_are_awaited(box):
    import pty

    main_fd, terminal_fd = pty.openpty()
    run = box.start("--gpus", "0", stdin=terminal_fd)
    os.close(terminal_fd)
    run.wait_err("reading commands from the terminal")
    os.write(main_fd, b"echo typed >> got\n")
    assert box.wait_lines("got", 1) == ["typed"]
    os.write(main_fd, b"\x04")
    assert run.ended().status == 0
    os.close(main_fd)
