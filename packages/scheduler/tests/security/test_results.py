"""`--results DIR` where others can write: they don't choose where it is written, or who waits."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from users import needs_root
from waiting import wait_until

from .conftest import ALICE, BOB, CAROL, LAB, People

pytestmark = needs_root

UNTOUCHED = "nobody's but Alice's\n"
NAMES = ("command", "stdout", "stderr", "result.json", "result.json.new")

_WAIT = """
print(flush=True)
time.sleep(600)
"""
_LOCK = "fd = os.open(sys.argv[1], os.O_RDONLY)\nfcntl.flock(fd, fcntl.LOCK_EX)\n" + _WAIT

#: Puts a link to a folder of Alice's in the place of each job's folder, as soon as there is one.
_SWAP = """
shared, victim, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.chdir(shared)
print(flush=True)
waiting, swapped = set(map(str, range(1, most + 1))), 0
while waiting:
    for name in list(waiting):
        try:
            os.rename(name, name + "-of-alice")
            os.symlink(victim, name)
        except OSError:
            continue
        waiting.discard(name)
        print(name, flush=True)
"""

#: Puts files into job folders that the group may write, before the jobs' own are there.
_FILL = """
shared, victim, most = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.chdir(shared)
print(flush=True)
while True:
    for number in range(1, most + 1):
        for name in ("command", "stdout", "stderr", "attempt-1"):
            try:
                os.symlink(victim, f"{number}/{name}")
            except OSError:
                pass
"""

_PLANT = {
    "a folder with links": "os.mkdir('2'); os.chmod('2', 0o777)\n"
    f"for name in {NAMES}: os.symlink(victim + '/' + name, '2/' + name)",
    "a link": "os.symlink(victim, '2')",
    "a FIFO": "os.mkfifo('2')",
    "a file": "open('2', 'w').close()",
    "a closed folder": "os.mkdir('2', 0o700)",
}


def shared_folder(people: People, kind: str) -> Path:
    """A folder that Alice and Bob can write."""
    folder = people.path / "shared runs"
    folder.mkdir()
    if kind == "group":
        people.group = LAB
        os.chown(folder, 0, LAB)
    folder.chmod(0o2775 if kind == "group" else 0o1777)
    return folder


def victim_of(people: People) -> Path:
    """A folder of Alice's own, in which there is something."""
    folder = people.home(ALICE) / "thesis"
    folder.mkdir()
    for name in NAMES[:-1]:
        (folder / name).write_text(UNTOUCHED)
    for path in (folder, *folder.iterdir()):
        os.chown(path, ALICE, ALICE)
    return folder


def is_untouched(folder: Path) -> bool:
    names = sorted(path.name for path in folder.iterdir())
    return names == sorted(NAMES[:-1]) and all(
        path.read_text() == UNTOUCHED for path in folder.iterdir()
    )


def run(
    people: People, folder: Path, lines: str, *options: str, umask: int = 0o022
) -> subprocess.CompletedProcess[str]:
    """Alice runs these."""
    options = ("--gpus", "0", "--quiet", "--results", str(folder), *options)
    return people.run(ALICE, "simple_gpu_scheduler", *options, lines=lines, umask=umask)


def states(people: People, uid: int, folder: Path) -> dict[int, str]:
    """What that user sees of the jobs there."""
    done = people.run(uid, "sgs", "results", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    return {one["job"]: one["state"] for one in json.loads(done.stdout)}


@pytest.mark.parametrize("planted", _PLANT)
@pytest.mark.parametrize("kind", ["sticky", "group"])
def test_what_another_user_planted_is_not_written_and_ends_no_list(
    people: People, kernel: str, kind: str, planted: str
) -> None:
    folder, victim = shared_folder(people, kind), victim_of(people)
    program = f"os.chdir(sys.argv[1])\nvictim = sys.argv[2]\n{_PLANT[planted]}\n{_WAIT}"
    people.attack(BOB, program, str(folder), str(victim))
    before = (folder / "2").lstat()
    done = run(people, folder, "echo 1\necho 2 >> ran\necho 3\n")
    assert is_untouched(victim)
    assert done.returncode == 1
    assert f"error: line 2: can't be recorded: {folder}/2 " in done.stderr
    assert str(BOB) in done.stderr
    assert "name another directory by --results" in done.stderr
    assert "1 of 3 jobs failed" in done.stderr
    assert (folder / "2").lstat() == before
    assert [(folder / job / "stdout").read_text() for job in ("1", "3")] == ["1\n", "3\n"]
    assert not (people.home(ALICE) / "ran").exists()


def test_a_folder_that_is_swapped_for_a_link_right_after_it_was_made(people: People) -> None:
    folder, victim = shared_folder(people, "group"), victim_of(people)
    attacker = people.attack(BOB, _SWAP, str(folder), str(victim), "40")
    done = run(people, folder, "".join(f"echo {n}\n" for n in range(1, 41)))
    assert is_untouched(victim)
    assert "Traceback" not in done.stderr
    assert attacker.stdout is not None
    swapped = sorted(int(attacker.stdout.readline()) for _ in range(40))
    assert swapped == list(range(1, 41)), "each was swapped, sooner or later"
    early = done.stderr.count("can't be recorded: ")
    written = len(list(folder.glob("*-of-alice/result.json")))
    assert early + written == 40, "what has begun is written where it has begun"


def test_files_that_come_first_in_folders_that_a_group_may_write(people: People) -> None:
    folder, victim = shared_folder(people, "group"), victim_of(people)
    people.attack(BOB, _FILL, str(folder), str(victim / "stdout"), "40")
    lines = "".join(f"echo {n}\n" for n in range(1, 41))
    for _ in range(2):
        done = run(people, folder, lines, umask=0o002)
        assert "Traceback" not in done.stderr
        assert "starting no more jobs" not in done.stderr
    assert is_untouched(victim)
    assert stat_of(folder / "1") == (ALICE, LAB, 0o2775), "as Alice's umask says"


def test_a_folder_of_others_in_that_of_a_job_ends_no_list(people: People) -> None:
    folder = shared_folder(people, "group")
    assert run(people, folder, "true\n", umask=0o002).returncode == 0
    program = "os.chdir(sys.argv[1])\nos.unlink('stdout')\nos.mkdir('stdout')\n"
    people.attack(BOB, program + _WAIT, str(folder / "1"))
    done = run(people, folder, "echo 1\necho 2\n", umask=0o002)
    assert "error: line 1: can't be recorded: " in done.stderr
    assert (folder / "2/stdout").read_text() == "2\n"


def stat_of(path: Path) -> tuple[int, int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid, status.st_mode & 0o7777


def test_earlier_attempts_are_moved_to_no_place_of_others(people: People) -> None:
    folder, victim = shared_folder(people, "group"), victim_of(people)
    assert run(people, folder, "echo 1\n", umask=0o002).returncode == 0
    program = """
os.chdir(sys.argv[1])
for number in range(1, 5001):
    os.symlink(sys.argv[2] + number % 2 * "/none", f"attempt-{number}")
"""
    people.attack(BOB, program + _WAIT, str(folder / "1"), str(victim))
    begun_s = time.monotonic()
    assert run(people, folder, "echo 2\n", umask=0o002).returncode == 0
    assert time.monotonic() - begun_s < 30
    assert is_untouched(victim)
    assert (folder / "1/attempt-5001/stdout").read_text() == "1\n"
    assert (folder / "1/stdout").read_text() == "2\n"


def test_the_lock_of_another_user_stops_nobody_and_tells_no_lies(people: People) -> None:
    folder = shared_folder(people, "sticky")
    people.attack(BOB, _LOCK, str(folder))
    gate = people.home(ALICE) / "gate"
    os.mkfifo(gate)
    os.chown(gate, ALICE, ALICE)
    options = ("--gpus", "0", "--results", str(folder))
    runs = people.start(ALICE, "simple_gpu_scheduler", *options)
    assert runs.stdin is not None
    runs.stdin.write(f"read _ < {gate}\n")
    runs.stdin.flush()
    wait_until((folder / "1/stderr").exists, "the job runs")
    second = run(people, folder, "echo 2\n")
    assert (second.returncode, "is in use by another scheduler" in second.stderr) == (2, True)
    assert [states(people, uid, folder) for uid in (ALICE, CAROL)] == [{1: "running"}] * 2
    runs.kill()
    runs.wait()
    assert [states(people, uid, folder) for uid in (ALICE, CAROL)] == [{1: "lost"}] * 2
    gate.write_text("\n")  # the job goes on without its scheduler; its GPU becomes free
    third = run(people, folder, "echo 2\n")
    assert (third.returncode, third.stderr) == (0, "")
    assert sorted(os.listdir(folder)) == ["1"]


def test_a_lock_elsewhere_whose_inode_has_the_same_number_says_nothing(people: People) -> None:
    """Others can make inodes until one fits; on two new disks the first ones are alike."""
    disks = [people.path / "bob's", people.path / "alice's"]
    mounted = []
    try:
        for disk in disks:
            disk.mkdir()
            command = ["mount", "-t", "tmpfs", "-o", "mode=1777", "none", str(disk)]
            if subprocess.run(command, capture_output=True).returncode:
                pytest.skip("nothing can be mounted here")
            mounted.append(disk)
        runs, lock = disks[0] / "runs", disks[1] / "lock"
        make = "os.umask(0)\nos.mkdir(sys.argv[1], 0o1777)\n"
        people.attack(BOB, make + _LOCK, str(runs))
        people.attack(ALICE, "open(sys.argv[1], 'w').close()\n" + _LOCK, str(lock))
        assert runs.stat().st_ino == lock.stat().st_ino
        done = run(people, runs, "echo 1\n")
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        people.close()
        for disk in mounted:
            subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_killed_schedulers_mark_counts_for_more_than_a_lock(people: People) -> None:
    """As /proc/locks may show somebody else's lock as hers."""
    folder = shared_folder(people, "sticky")
    runs = people.start(ALICE, "simple_gpu_scheduler", "--gpus", "0", "--results", str(folder))
    assert runs.stdin is not None
    runs.stdin.write("sleep 600\n")
    runs.stdin.flush()
    wait_until((folder / "1/stderr").exists, "the job runs")
    runs.kill()
    runs.wait()
    people.attack(ALICE, _LOCK, str(folder))
    assert states(people, CAROL, folder) == {1: "lost"}


def test_the_schedulers_of_two_users_are_told_apart(people: People) -> None:
    folder = shared_folder(people, "sticky")
    runs = people.start(BOB, "simple_gpu_scheduler", "--gpus", "1", "--results", str(folder))
    assert runs.stdin is not None
    runs.stdin.write("cat /dev/zero > /dev/null\n")
    runs.stdin.flush()
    wait_until((folder / "1/stderr").exists, "Bob's job runs")
    done = run(people, folder, "echo 1\necho 2\n")
    assert f"warning: {BOB} writes to {str(folder)!r} too" in done.stderr
    assert f"{folder}/1 belongs to {BOB}" in done.stderr
    assert (folder / "2/stdout").read_text() == "2\n"
    assert states(people, CAROL, folder) == {1: "running", 2: "ok"}


def test_marks_that_others_planted_say_nothing(people: People, kernel: str) -> None:
    folder, elsewhere = shared_folder(people, "sticky"), people.home(ALICE) / "runs"
    runs = people.start(ALICE, "simple_gpu_scheduler", "--gpus", "1", "--results", str(elsewhere))
    assert runs.stdin is not None
    living = wait_until(
        lambda: next((path for path in elsewhere.glob("*") if path.suffix != ".new"), None),
        "Alice's scheduler runs",
    )
    people.home(ALICE).chmod(0o755)
    program = """
os.chdir(sys.argv[1])
names = (f".scheduler-{number:016x}" for number in range(10000))
os.mkfifo(next(names))
os.mkdir(next(names))
os.symlink(sys.argv[2], next(names))
try:
    os.link(sys.argv[2], next(names))
except PermissionError:
    pass
for number in range(2000):
    open(next(names), "w").close()
fd = os.open(next(names), os.O_RDWR | os.O_CREAT)
fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0))
"""
    people.attack(BOB, program + _WAIT, str(folder), str(living))
    done = run(people, folder, "echo 1\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert states(people, CAROL, folder) == {1: "ok"}


def test_results_of_another_user_are_read_without_waiting_or_telling_secrets(
    people: People,
) -> None:
    secret = people.home(ALICE) / "secret"
    secret.mkdir()
    for name in ("stdout", "stderr", "command", "result.json"):
        (secret / name).write_text(
            '{"exit_code": 0, "command": "TOKEN", "TOKEN": 7, "a": "TOKEN"}\n'
        )
    program = """
os.chdir(sys.argv[1])
os.umask(0)
os.mkdir("runs")
os.chdir("runs")
def job(number, **files):
    os.mkdir(str(number))
    for name, text in ({"command": "c", "stdout": "a=1", "stderr": "e"} | files).items():
        if text is not None:
            open(f"{number}/{name}".replace("_", "."), "w").write(text)
fail = '{"exit_code": 1, "command": "c"}'
job(1, result_json=fail)
job(2, result_json=fail, stdout=None, stderr=None)
os.symlink(sys.argv[2] + "/stdout", "2/stdout")
os.symlink(sys.argv[2] + "/stderr", "2/stderr")
job(3)
os.symlink(sys.argv[2] + "/result.json", "3/result.json")
os.symlink(sys.argv[2], "4")
job(5, command=None, stdout=None, stderr=None)
for name in ("command", "stdout", "stderr", "result.json"):
    os.mkfifo("5/" + name)
job(6)
os.mkfifo("6/result.json")
job(7, result_json="[" * 3_000_000)
job(8, result_json='{"command":' * 300_000)
job(9, result_json=fail)
for name in ("stdout", "stderr"):
    os.truncate("9/" + name, 1 << 40)
job(10)
open("10/result.json", "w").truncate(1 << 40)
job(11, command=None)
os.symlink(sys.argv[2] + "/command", "11/command")
job(12, result_json='{"exit_code": 0, "attempt": 1' + "0" * 4000 + ', "runtime_s": 1e999}')
os.mkfifo("13")
"""
    people.attack(BOB, program + _WAIT, str(people.path), str(secret))
    runs = people.path / "runs"
    for options in ((), ("--json",), ("--sort", "a")):
        done = people.run(ALICE, "sgs", "results", str(runs), *options)
        assert done.returncode == 0, done.stderr
        assert "TOKEN" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert sorted(states(people, ALICE, runs)) == [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12]


_RIGHTS = """
os.umask(0)
os.mkdir(sys.argv[1])
entry = lambda *words: struct.pack("<HHI", *words)
none = 0xFFFFFFFF
rights = entry(1, 7, none) + entry(2, 7, os.getuid()) + entry(4, 7, none)
rights += entry(0x10, 7, none) + entry(0x20, 7, none)
try:
    os.setxattr(sys.argv[1], "system.posix_acl_default", struct.pack("<I", 2) + rights)
except OSError:
    sys.exit("no lists of access rights here")
"""


@pytest.mark.parametrize("umask", [0o077, 0o027, 0o022], ids=oct)
@pytest.mark.parametrize("inside", ["", "/made/here"])
def test_the_access_rights_of_another_users_folder_do_not_replace_the_umask(
    people: People, umask: int, inside: str
) -> None:
    folder = people.path / "bob's"
    try:
        people.attack(BOB, _RIGHTS + _WAIT, str(folder))
    except AssertionError as error:
        pytest.skip(str(error))
    log, events, used = folder / "log", folder / "events", Path(f"{folder}{inside}")
    for _ in range(2):
        options = ("--joblog", str(log), "--json", str(events))
        done = run(people, used, "echo a\n", *options, umask=umask)
        assert (done.returncode, done.stderr) == (0, "")
    paths = [*folder.rglob("*")]
    assert {path.name for path in paths} >= {"log", "events", "1", "attempt-1", "result.json"}
    for path in paths:
        asked = 0o777 if path.is_dir() else 0o666
        assert stat_of(path)[::2] == (ALICE, asked & ~umask), path
    program = """
may = {path: (os.access(path, os.R_OK), os.access(path, os.W_OK)) for path in sys.argv[2:]}
assert {writes for _, writes in may.values()} == {False}, may
assert sys.argv[1] != "63" or {reads for reads, _ in may.values()} == {False}, may
"""
    people.attack(BOB, program + _WAIT, str(umask), *map(str, paths))


def test_a_directory_behind_another_users_link_is_refused(people: People, kernel: str) -> None:
    victim, hostile = victim_of(people), shared_folder(people, "group")
    program = "os.symlink(sys.argv[2], sys.argv[1] + '/runs')\n" + _WAIT
    people.attack(BOB, program, str(hostile), str(victim))
    for path in (hostile / "runs", hostile / "runs/deeper"):
        done = run(people, path, "echo 1 >> ran\n")
        assert done.returncode == 2
        assert f"{hostile}/runs is a link that {BOB} made" in done.stderr
    assert is_untouched(victim)
    own = people.home(ALICE) / "own"
    own.symlink_to(hostile)
    os.chown(own, ALICE, ALICE, follow_symlinks=False)
    assert run(people, own, "echo 1\n").returncode == 0
    assert (hostile / "1/stdout").read_text() == "1\n"
