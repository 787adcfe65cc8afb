"""The lease directory, which all can write: nobody stops, slows or frees what others have."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import protections
from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.leases.lease_files import MOST_BYTES_OF_A_USER
from users import needs_root
from waiting import BOUND_S, wait_until

from .conftest import ALICE, BOB, CAROL, SWAP, People

pytestmark = needs_root

AGAIN = ["sgs", "lease", "--on", "0", "--no-wait", "--", "true"]

#: Has leases of fcntl(2) on files of its own, and sets them again whenever somebody breaks them.
SET_LEASES = """
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
fds = []
for name in sys.argv[2:]:
    path = os.path.join(sys.argv[1], name)
    fds.append(os.open(path, os.O_RDWR | os.O_CREAT, 0o644))
def again():
    for fd in fds:
        for how in (fcntl.F_UNLCK, fcntl.F_WRLCK):
            try:
                fcntl.fcntl(fd, fcntl.F_SETLEASE, how)
            except OSError:
                pass  # there was none, or somebody has it open just now
again()
print(flush=True)
while True:
    signal.sigtimedwait([signal.SIGIO], 0.001)
    again()
"""

LOCK = """
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(fd, getattr(fcntl, sys.argv[2]))
print(flush=True)
sys.stdin.read()
"""


def begin(people: People) -> None:
    """Alice comes first: the directory is hers."""
    assert people.run(ALICE, *AGAIN).returncode == 0


def run_list(people: People, jobs: int, *options: str) -> subprocess.CompletedProcess[str]:
    """Alice runs a list of short jobs."""
    lines = "".join(f"echo {number}\n" for number in range(jobs))
    command = ["simple_gpu_scheduler", "--gpus", "0,1", "--quiet", *options]
    return people.run(ALICE, *command, lines=lines)


def all_of(done: subprocess.CompletedProcess[str], jobs: int) -> None:
    """All jobs ran."""
    assert sorted(map(int, done.stdout.split())) == list(range(jobs)), done.stderr
    assert done.returncode == 0


def test_a_file_that_can_not_be_opened_at_once_stops_nobody(people: People, kernel: str) -> None:
    """O2: leases of fcntl(2) on names like ours."""
    begin(people)
    attacker = people.attack(BOB, SET_LEASES, str(people.leases), "x.lease", "x.ticket", "z.new")
    for _ in range(3):
        assert people.run(ALICE, *AGAIN).returncode == 0
    done = run_list(people, 30)
    all_of(done, 30)
    assert done.stderr == ""
    assert people.run(ALICE, "sgs", "server", "start", "--gpus", "0").returncode == 0
    assert people.run(ALICE, "sgs", "submit", "--", "true").stdout == "1\n"
    assert people.run(ALICE, "sgs", "wait", "1").returncode == 0
    wait_until(lambda: not _opens(people.leases / "x.lease"), "the attack is one")
    assert attacker.poll() is None


def _opens(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except BlockingIOError:
        return False
    return True


@pytest.mark.parametrize("how", ["LOCK_EX", "LOCK_SH"])
def test_whoever_locks_the_directory_delays_others_by_a_second(people: People, how: str) -> None:
    """O4. What waits tells for whom."""
    begin(people)
    attacker = people.attack(BOB, LOCK, str(people.leases), how)
    whom = f"{BOB} (pid {attacker.pid}) has {people.leases} locked"
    for waiting in (["--no-wait"], ["--timeout", "3s"], []):
        begun_s = time.monotonic()
        done = people.run(ALICE, "sgs", "lease", "--on", "0", *waiting, "--", "echo", "mine")
        assert (done.returncode, done.stdout) == (0, "mine\n")
        assert whom in done.stderr
        assert time.monotonic() - begun_s < 20, "not the 30 s of before"
    done = run_list(people, 10)
    all_of(done, 10)
    assert done.stderr.count("\n") == done.stderr.count(whom) == 1
    with hold(people, ALICE) as holder:
        busy = people.run(ALICE, "sgs", "lease", "--on", "0", "--timeout", "1s", "--", "true")
        assert busy.returncode == 75
        assert f"GPU 0 is leased by {ALICE}" in busy.stderr
        holder.kill()
        holder.communicate()
    assert attacker.poll() is None


def hold(people: People, uid: int, *options: str) -> subprocess.Popen[str]:
    """A program that has its lease, until its stdin is closed."""
    words = ["sgs", "lease", "--on", "0", *options, "--", "sh", "-c", "echo up; exec cat"]
    holder = people.start(uid, *words)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "up\n"
    return holder


def names_of(people: People, ending: str) -> list[str]:
    """What is in the lease directory."""
    return [name for name in os.listdir(people.leases) if name.endswith(ending)]


def test_a_dead_lease_is_over_whoever_keeps_its_file_locked(people: People) -> None:
    """Alice's scheduler and job are killed; Bob has every lock that a reader can have."""
    begin(people)
    run = people.start(ALICE, "simple_gpu_scheduler", "--gpus", "0", "--quiet")
    assert run.stdin is not None
    assert run.stdout is not None
    run.stdin.write("echo $$; exec sleep 600\n")
    run.stdin.flush()
    job = int(run.stdout.readline())
    (name,) = names_of(people, ".lease")
    attacker = people.attack(
        BOB,
        """
fd, other = (os.open(sys.argv[1], os.O_RDONLY) for _ in "12")
whole = struct.Struct("hhqqi").pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
print(flush=True)
fcntl.flock(fd, fcntl.LOCK_EX)
fcntl.fcntl(other, fcntl.F_OFD_SETLKW, whole)
print("locked", flush=True)
sys.stdin.read()
""",
        str(people.leases / name),
    )
    assert people.run(CAROL, *AGAIN).returncode == 75, "it lives"
    run.kill()
    run.wait()
    assert people.run(CAROL, *AGAIN).returncode == 75, "the job holds it"
    os.kill(job, signal.SIGKILL)
    assert attacker.stdout is not None
    assert attacker.stdout.readline() == "locked\n"
    done = people.run(CAROL, "sgs", "lease", "--on", "0", "--timeout", "20s", "--", "true")
    assert (done.returncode, done.stderr) == (0, "")


#: Whatever appears in the directory is opened and locked in each way at once.
LOCK_ALL = """
whole = struct.Struct("hhqqi").pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
met = {}
print(flush=True)
while True:
    for name in os.listdir(sys.argv[1]):
        if name not in met:
            try:
                fd = os.open(os.path.join(sys.argv[1], name), os.O_RDONLY | os.O_NONBLOCK)
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, whole)
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            met[name] = fd
    for name in tuple(met)[:-200]:
        os.close(met.pop(name))
"""


def test_who_locks_whatever_appears_hinders_nobody(people: People) -> None:
    begin(people)
    attacker = people.attack(BOB, LOCK_ALL, str(people.leases))
    done = run_list(people, 40)
    all_of(done, 40)
    for _ in range(5):
        done = people.run(ALICE, "sgs", "lease", "--on", "0", "--timeout", "20s", "--", "true")
        assert (done.returncode, done.stderr) == (0, "")
    assert attacker.poll() is None


#: Of one lease of hers more names than a user may have leases.
LINK_MANY = """
for number in range(int(sys.argv[3])):
    os.link(sys.argv[1], f"{sys.argv[2]}/{number}-0.lease")
print(flush=True)
"""


def test_no_number_of_names_makes_a_lease_one_too_many(people: People) -> None:
    """Who has more than anybody needs is passed over: nobody can make that somebody else."""
    begin(people)
    holder = hold(people, ALICE)
    three = people.start(ALICE, "sgs", "lease", "--on", "1,2,3", "--", "sh", "-c", "echo; cat")
    assert three.stdout is not None
    three.stdout.readline()
    name = next(one for one in names_of(people, ".lease") if one.startswith(f"{holder.pid}-"))
    with protections.switched(protections.OFF):
        people.attack(BOB, LINK_MANY, str(people.leases / name), str(people.leases), str(6000))
    for gpu in "0123":
        done = people.run(CAROL, "sgs", "lease", "--on", gpu, "--no-wait", "--", "true")
        assert done.returncode == 75


#: As many valid leases and waiters as one may hold, with as many names as fit.
HOLD_MANY = """
whole = struct.Struct("hhqqi").pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
names = [str(number) for number in range(int(sys.argv[3]), int(sys.argv[3]) + int(sys.argv[4]))]
fds = []
for number in range(int(sys.argv[2])):
    want = {"gpus": names, "number": 1, "units": 1, "memory_mib": 1, "numbers": []}
    content = {"version": 2, "id": f"{number}-b", "uid": 0, "user": "", "pid": os.getpid(),
               "kind": "job", "since_s": 1.0, "since_ns": 0, "parent": None, "inside": None,
               "want": want, **want}
    for ending in (".lease", ".ticket"):
        path = f"{sys.argv[1]}/{number}-b"
        fds.append(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        fcntl.fcntl(fds[-1], fcntl.F_OFD_SETLK, whole)
        turn = b"000000000000\\n" if ending == ".lease" else b""
        os.write(fds[-1], json.dumps(content).encode() + b"\\n" + turn)
        os.fchmod(fds[-1], 0o644)
        os.rename(path, path + ending)
print(flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("names", [4600, 500, 1])
def test_what_one_user_holds_costs_the_others_little(people: People, names: int) -> None:
    """He has 400 leases and 400 waiters, on GPUs that nobody else wants."""
    begin(people)
    people.attack(BOB, HOLD_MANY, str(people.leases), "400", "1000", str(names))
    program = """
from simple_gpu_scheduler.leases.store import FileLeaseStore
from simple_gpu_scheduler.client import take
book = FileLeaseStore()
print(sum(len(one.gpus) for one in book.leases()))
print(sum(len(one.request.gpus) for one in book.tickets()))
take(on="0", timeout_s=30.0).release()
"""
    done = people.run(CAROL, sys.executable, "-c", program)
    leased, wanted = map(int, done.stdout.split())
    assert done.stderr == ""
    assert leased <= wanted  # a waiter's file is a little smaller
    assert wanted == {4600: 0, 1: 400}.get(names, wanted)
    assert wanted * 4 < MOST_BYTES_OF_A_USER, "of 200,000 names only so many are looked at"


LINK = """
try:
    for number in range(20):
        os.link(sys.argv[1], f"{sys.argv[2]}/0-{number}{os.path.splitext(sys.argv[1])[1]}")
except PermissionError:
    pass  # the kernel protects it
print(flush=True)
"""


def test_a_second_name_of_somebody_s_lease_takes_no_more(people: People, kernel: str) -> None:
    """A hard link to a lease on half a GPU leaves others the other half."""
    half = ["simple_gpu_scheduler", "--gpus", "0", "--jobs-per-gpu", "2", "--quiet"]
    hers = people.start(ALICE, *half)
    assert hers.stdin is not None
    assert hers.stdout is not None
    hers.stdin.write("echo runs; exec cat > /dev/null < gates\n")
    os.mkfifo(people.home(ALICE) / "gates")
    os.chown(people.home(ALICE) / "gates", ALICE, ALICE)
    hers.stdin.flush()
    assert hers.stdout.readline() == "runs\n"
    (name,) = names_of(people, ".lease")
    people.attack(BOB, LINK, str(people.leases / name), str(people.leases))
    assert len(names_of(people, ".lease")) == (1 if kernel == "protected" else 21)
    done = people.run(CAROL, *half, lines="echo fits\n")
    assert (done.stdout, done.stderr, done.returncode) == ("fits\n", "", 0)
    (people.home(ALICE) / "gates").write_text("")
    hers.communicate(timeout=60)


def test_a_second_name_of_somebody_s_ticket_keeps_nobody_waiting(
    people: People, kernel: str
) -> None:
    """Alice would wait for herself for ever."""
    holder = hold(people, CAROL)
    waiter = people.start(ALICE, "sgs", "lease", "--on", "0", "--", "echo", "served")
    wait_until(lambda: names_of(people, ".ticket"), "she waits")
    (name,) = names_of(people, ".ticket")
    people.attack(BOB, LINK, str(people.leases / name), str(people.leases))
    holder.kill()
    holder.communicate()
    assert waiter.communicate(timeout=60)[0] == "served\n"


def test_what_is_planted_by_the_thousand_is_looked_at_once(people: People) -> None:
    begin(people)
    plant = """
folder = sys.argv[1]
for number in range(5000):
    for ending in ("lease", "ticket", "new"):
        os.close(os.open(f"{folder}/{number}.{ending}", os.O_CREAT | os.O_WRONLY, 0o644))
os.mkdir(folder + "/d.lease")
os.mkfifo(folder + "/f.ticket")
os.symlink("/dev/zero", folder + "/l.lease")
with open(folder + "/h.lease", "w") as file:
    file.truncate(1 << 40)
print(flush=True)
"""
    people.attack(BOB, plant, str(people.leases))
    program = """
import os, sys
from simple_gpu_scheduler.leases.store import FileLeaseStore
opened = []
sys.addaudithook(lambda event, args: event == "open" and opened.append(args[0]))
book = FileLeaseStore()
for _ in range(20):
    assert book.leases() == book.tickets() == []
    assert not book.somebody_waits()
print(sum(str(one).endswith((".lease", ".ticket")) for one in opened))
"""
    done = people.run(CAROL, sys.executable, "-c", program)
    assert int(done.stdout) == 1, done.stderr  # Alice's that is over; none is empty or so large
    done = run_list(people, 30)
    all_of(done, 30)
    assert done.stderr == ""


FILL = """
folder = sys.argv[1]
names = []
try:
    for number in range(10**6):
        fd = os.open(f"{folder}/{number}.lease", os.O_CREAT | os.O_WRONLY, 0o644)
        names.append(number)
        os.write(fd, b"x" * 4096)
        os.close(fd)
except OSError:
    pass
print(len(names), flush=True)
sys.stdin.readline()
for number in names:
    os.unlink(f"{folder}/{number}.lease")
print("gone", flush=True)
"""


def test_who_fills_the_directory_is_named_and_no_list_ends_for_it(people: People) -> None:
    people.leases.mkdir()
    given = ["mount", "-t", "tmpfs", "-o", "mode=1777,size=1m", "none", str(people.leases)]
    subprocess.run(given, check=True)
    try:
        attacker = people.attack(BOB, FILL, str(people.leases))
        run = people.start(ALICE, "simple_gpu_scheduler", "--gpus", "0", "--quiet")
        assert run.stdin is not None
        assert run.stderr is not None
        run.stdin.write("echo ran\n" * 3)
        run.stdin.close()
        said = run.stderr.readline()
        assert "No space left on device" in said
        assert f"{BOB} has " in said
        assert "waiting until that is over" in said
        single = people.run(ALICE, "sgs", "lease", "--on", "1", "--", "true")
        assert (single.returncode, single.stderr.count("\n")) == (1, 1)
        assert attacker.stdin is not None
        attacker.stdin.write("\n")
        attacker.stdin.flush()
        assert run.stdout is not None
        assert run.stdout.read() == "ran\n" * 3
        assert run.wait(60) == 0
    finally:
        people.close()
        subprocess.run(["umount", "-l", str(people.leases)], check=True)


def test_a_pid_in_somebody_s_lease_hides_nobody_else(people: People, tmp_path: Path) -> None:
    """Bob says that his lease is Alice's process: she is a stranger on the GPU all the same."""
    import fake_nvml

    begin(people)
    hers = people.start(ALICE, "cat")
    place = people.path / "driver"
    place.mkdir()
    library = fake_nvml.compiled(place)
    driver = fake_nvml.Machine(library, place)
    process = f"process {hers.pid} 40000"
    driver.write(f"card GPU-0\nmemory 80000 40500\nutilisation 90\n{process}\n")
    people.env |= {"LD_LIBRARY_PATH": str(library), "FAKE_NVML_STATE": str(driver.path)}
    for path in (place, *place.rglob("*")):
        path.chmod(0o755)
    forge = """
content = json.dumps({
    "version": 2, "id": "x", "uid": 0, "user": "root", "pid": int(sys.argv[2]), "kind": "job",
    "since_s": 1.0, "gpus": ["GPU-0"], "units": 1, "memory_mib": 1, "parent": None, "numbers": []})
fd = os.open(sys.argv[1] + "/x.lease", os.O_CREAT | os.O_RDWR, 0o644)
fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.Struct("hhqqi").pack(fcntl.F_WRLCK, 0, 0, 0, 0))
fcntl.flock(fd, fcntl.LOCK_EX)
os.write(fd, content.encode() + b"\\n000000000000\\n")
print(flush=True)
sys.stdin.read()
"""
    for pid in (hers.pid, 1):
        attacker = people.attack(BOB, forge, str(people.leases), str(pid))
        (gpu,) = json.loads(people.run(CAROL, "sgs", "gpus", "--json").stdout)
        assert [one["pid"] for one in gpu["strangers"]] == [hers.pid]
        assert [one["user"] for one in gpu["leases"]] == [str(BOB)]
        done = people.run(CAROL, "sgs", "lease", "--vram", "1G", "--no-wait", "--", "true")
        assert done.returncode == 75
        assert f"is used by {ALICE} (pid {hers.pid}, cat" in done.stderr
        attacker.communicate()


def test_the_directory_is_as_safe_as_those_above_it(people: People) -> None:
    for mode, uid, what in (
        (0o777, 0, "can be written by everybody"),
        (0o775, 0, "can be written by others (group "),
        (0o755, BOB, f"belongs to {BOB}"),
    ):
        place = people.path / f"place-{mode:o}-{uid}"
        leases = place / "leases"
        leases.mkdir(parents=True)
        leases.chmod(0o1777)
        os.chown(place, uid, 60999)
        place.chmod(mode)
        env = people.environ(ALICE, SGS_LEASE_DIR=str(leases))
        done = people.run(ALICE, *AGAIN, env=env)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert f"{place} {what}" in done.stderr
    os.chown(leases, BOB, BOB)
    assert people.run(ALICE, *AGAIN, env=env).returncode == 0, "the first comer's own place"


def test_no_lease_is_made_in_a_folder_that_is_swapped_for_a_link(people: People) -> None:
    target = people.home(ALICE) / "precious"
    target.mkdir()
    os.chown(target, ALICE, ALICE)
    target.chmod(0o1777)
    place, link = people.path / "place", people.path / "link"
    place.mkdir()
    place.chmod(0o1777)
    os.chown(place, BOB, BOB)
    link.symlink_to(target)
    os.chown(link, BOB, BOB, follow_symlinks=False)
    people.attack(BOB, SWAP, str(place), str(link))
    env = people.environ(ALICE, SGS_LEASE_DIR=str(place))
    for _ in range(20):
        done = people.run(ALICE, *AGAIN, env=env)
        assert done.returncode in (0, 1)
        assert done.stderr.count("\n") == done.returncode
        assert os.listdir(target) == []


def test_a_lock_on_somebody_else_s_ticket_keeps_no_place(people: People) -> None:
    """Alice waits, and is killed; Bob keeps her ticket's file locked."""
    begin(people)
    holder = hold(people, CAROL)
    waiter = people.start(ALICE, "sgs", "lease", "--on", "0", "--", "true")
    wait_until(lambda: names_of(people, ".ticket"), "Alice waits")
    (name,) = names_of(people, ".ticket")
    program = LOCK.replace("fcntl.flock", "print(flush=True)\nfcntl.flock", 1)
    people.attack(BOB, program, str(people.leases / name), "LOCK_EX")
    waiter.kill()
    waiter.communicate()
    fd = os.open(people.leases / name, os.O_RDONLY)
    wait_until(lambda: not _may_lock(fd), "Bob has the lock")
    os.close(fd)
    holder.kill()
    holder.communicate()
    done = people.run(CAROL, "sgs", "lease", "--on", "0", "--timeout", "20s", "--", "true")
    assert (done.returncode, done.stderr) == (0, "")


def _may_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True


#: Tickets of a program that waits for all GPUs since the machine was started, and takes none.
IDLE = """
whole = struct.Struct("hhqqi").pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
def ticket(number):
    want = {"gpus": ["0", "1"], "number": 2, "units": int(sys.argv[2]), "memory_mib": None,
            "numbers": []}
    content = {"version": 2, "id": f"x{number}", "uid": 0, "user": "", "pid": os.getpid(),
               "since_ns": 0, "want": want, "inside": None}
    path = f"{sys.argv[1]}/x{number}"
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, whole)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.write(fd, json.dumps(content).encode() + b"\\n")
    os.fchmod(fd, 0o644)
    os.rename(path, path + ".ticket")
    return fd
before = ticket(0)
print(flush=True)
for number in range(1, 1000):
    time.sleep(2)
    after = ticket(number)
    os.close(before)
    before = after
"""


def test_who_waits_first_and_never_takes_it_is_passed_over(people: People) -> None:
    """He makes his ticket anew all the time, and says that he has waited for ever."""
    begin(people)
    attacker = people.attack(BOB, IDLE, str(people.leases), str(GPU_UNITS))
    busy = people.run(ALICE, *AGAIN)
    assert busy.returncode == 75
    assert f"{BOB} (pid {attacker.pid}) has waited for longer" in busy.stderr
    begun_s = time.monotonic()
    done = run_list(people, 20)
    all_of(done, 20)
    assert time.monotonic() - begun_s < 2 * BOUND_S
    assert attacker.poll() is None


#: Comes back for the GPU as soon as he has had it, and says each time that he came first of all.
COMES_BACK = """
from simple_gpu_scheduler.leases import store as leases
add = leases.FileLeaseStore.add_ticket
leases.FileLeaseStore.add_ticket = lambda self, request, since_ns=None, inside=None: add(
    self, request, 0, inside)
from simple_gpu_scheduler.client import take
import threading, time
def come_back():
    while True:
        taken = take(on="0")
        time.sleep(1.0)
        taken.release()
threads = [threading.Thread(target=come_back, daemon=True) for _ in "12"]
for thread in threads:
    thread.start()
print(flush=True)
threads[0].join()
"""


#: Both have a minute of five seconds.
SHORT_MINUTE = """
from simple_gpu_scheduler.leases import ledger
assert ledger._MOST_CLAIM_NS == 60 * 10**9
ledger._MOST_CLAIM_NS = 5 * 10**9
"""

#: `sgs`, with what stands before it.
SGS = """
import sys
from simple_gpu_scheduler.cli.sgs import main
sys.exit(main(sys.argv[1:]))
"""


def test_who_says_that_he_came_first_is_first_for_a_minute(people: People) -> None:
    begin(people)
    attacker = people.start(BOB, sys.executable, "-c", SHORT_MINUTE + COMES_BACK)
    assert attacker.stdout is not None
    assert attacker.stdout.readline() == "\n"
    words = ["lease", "--on", "0", "--timeout", "1m", "--", "true"]
    waiter = people.start(ALICE, sys.executable, "-c", SHORT_MINUTE + SGS, *words)
    assert waiter.wait(2 * BOUND_S) == 0
