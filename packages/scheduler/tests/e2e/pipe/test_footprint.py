"""What it takes: memory that doesn't grow with the input, no wake-ups, few imports."""

import subprocess
import sys


def test_a_million_lines_take_no_memory(box, status_of, until):
    gate = box.gate()
    source = box.path / "commands"
    line = "python train.py --lr 0.1 --batch-size 64 --name 'it''s'\n"
    source.write_text(f"{gate.wait}\n" + line * 1_000_000)
    feeder = subprocess.Popen(["cat", str(source)], stdout=subprocess.PIPE)
    try:
        run = box.start("--gpus", "0", "--joblog", "log", stdin=feeder.stdout)
        run.wait_starts(1)
        until(lambda: status_of(feeder.pid, "State").startswith("S"), "the pipe is full")
        assert int(status_of(run.pid, "VmHWM").split()[0]) < 40_000  # KiB
    finally:
        feeder.kill()
        feeder.wait()
        feeder.stdout.close()


def test_a_long_log_to_resume_from_takes_little_memory(box, status_of):
    header = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
    with open(box.path / "log", "w") as log:
        log.write(header)
        log.writelines(
            f"{seq}\t:\t1795403186.253\t     0.003\t0\t0\t0\t0\ttrue\n"
            for seq in range(1, 300_001)
        )
    gate = box.gate()
    source = box.path / "commands"
    source.write_text("true\n" * 300_000 + f"{gate.wait}\n")
    with open(source, "rb") as file:
        run = box.start("--gpus", "0", "--joblog", "log", "--resume", stdin=file)
        run.wait_starts(1)
        assert int(status_of(run.pid, "VmHWM").split()[0]) < 40_000  # KiB
        gate.open()
        assert run.ended().status == 0


def test_no_wake_up_while_jobs_run(box, status_of, until):
    gate = box.gate()
    run = box.start("--gpus", "0,1", "--joblog", "log", "--timeout", "1h")
    run.write(f"{gate.wait}\n" * 2)
    run.wait_starts(2)

    def switches():
        return status_of(run.pid, "voluntary_ctxt_switches")

    until(lambda: status_of(run.pid, "State").startswith("S"), "it sleeps")
    other = "import time; end = time.monotonic() + 0.2\nwhile time.monotonic() < end: pass"
    last = None

    def settled():
        nonlocal last
        before, last = last, switches()
        subprocess.run([sys.executable, "-c", other], check=True)
        return before == last

    until(settled, "two looks at the count agree")
    before = switches()
    subprocess.run([sys.executable, "-c", other.replace("0.2", "0.6")], check=True)
    assert switches() == before
    gate.open(2)
    assert run.ended().status == 0


def test_a_stdin_that_stays_open_costs_no_wake_up(box, status_of):
    gate = box.gate()
    run = box.start("--gpus", "0")
    run.write(f"{gate.wait}\n" + f"true {'x' * 200}\n" * 450)
    run.wait_starts(1)
    other = "import time; end = time.monotonic() + 0.5\nwhile time.monotonic() < end: pass"
    subprocess.run([sys.executable, "-c", other], check=True)
    before = status_of(run.pid, "voluntary_ctxt_switches")
    subprocess.run([sys.executable, "-c", other], check=True)
    assert status_of(run.pid, "voluntary_ctxt_switches") == before
    gate.open()
    assert run.ended().status == 0


def _imported(box, *options):
    command = [sys.executable, "-X", "importtime", box.command]
    run = box.start(*options, command=command, stdin=subprocess.PIPE)
    run.write("true\n")
    result = run.ended()
    assert result.status == 0
    lines = [line for line in result.err.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def test_a_plain_run_imports_little(box):
    imported = _imported(box, "--gpus", "0")
    assert "simple_gpu_scheduler.pipe.loop" in imported
    heavy = {
        "pynvml",
        "rich",
        "ctypes",
        "sqlite3",
        "asyncio",
        "threading",
        "subprocess",
        "typing_extensions",
    }
    assert not imported & heavy
    assert not {name for name in imported if name.startswith("simple_gpu_scheduler.search")}


def test_json_is_imported_where_it_is_used(box):
    assert "json" in _imported(box, "--gpus", "0", "--json", "events")


def test_descriptors_do_not_pile_up(box, until):
    import os

    gate = box.gate()
    run = box.start("--gpus", "0,1", "--results", "r", "--joblog", "log")
    folder = f"/proc/{run.pid}/fd"
    run.write("true\n")
    box.wait_lines("log", 2)
    until(lambda: len(os.listdir(folder)) < 30, "it rests")
    before = len(os.listdir(folder)) + 2  # the leases of two slots come and go
    run.write("true\n" * 300)
    box.wait_lines("log", 302)
    run.write(f"{gate.wait}\n")
    until(lambda: len(os.listdir(folder)) <= before, "they are closed")
    gate.open()
    assert run.ended().status == 0
