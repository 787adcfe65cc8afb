"""The queue's folder: whoever can change a folder above it must not become its user."""

from __future__ import annotations

import os
import shlex
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from users import as_user, needs_root
from waiting import wait_until

from .conftest import ALICE, BOB, SWAP, People

pytestmark = needs_root

HOST = socket.gethostname()


def submit(people: People, *words: str, state: Path | None = None) -> tuple[int, str]:
    """Alice submits, to a server that has a slot; its status and what it said."""
    env = people.environ(ALICE)
    env["SGS_STATE_DIR"] = str(state or people.home(ALICE) / "state")
    started = people.run(ALICE, "sgs", "server", "start", "--gpus", "0", env=env)
    if started.returncode:
        return started.returncode, started.stderr
    done = people.run(ALICE, "sgs", "submit", "--", *words, env=env)
    waited = people.run(ALICE, "sgs", "wait", done.stdout.strip(), env=env)
    return done.returncode or waited.returncode, done.stderr + waited.stderr


def give(path: Path, uid: int, mode: int) -> Path:
    """A folder of that user."""
    path.mkdir(parents=True, exist_ok=True)
    os.chown(path, uid, uid)
    path.chmod(mode)
    return path


class NetworkHome:
    """Alice's programs where her home is on a network, so that her queue is in /var/tmp."""

    def __init__(self, people: People) -> None:
        self._people = people
        self.local = give(people.path / "var-tmp", 0, 0o1777)
        self._env = people.environ(ALICE)
        del self._env["SGS_STATE_DIR"]
        self._bin = Path(self._env["PATH"].partition(":")[0])

    def run(self, *command: str, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
        """Run one of the installed commands; hugetlbfs is no file system of this machine's."""
        home, words = self._env["HOME"], [str(self._bin / command[0]), *command[1:]]
        given = f"uid={ALICE},gid={ALICE},mode=700"
        script = (
            f"mount -t hugetlbfs -o {given} none {shlex.quote(home)} && "
            f"mount --bind {shlex.quote(str(self.local))} /var/tmp && "
            f"cd / && umask {umask:o} && exec {shlex.join(as_user(ALICE, words))}"
        )
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", script],
            env=self._env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def folders(self) -> list[Path]:
        """What Alice has there, with all that is in it."""
        return [path for path in self.local.rglob("*") if path.lstat().st_uid == ALICE]


@pytest.fixture
def network(people: People) -> NetworkHome:
    """Alice's home, on a network."""
    ours = NetworkHome(people)
    probe = ours.run("sgs", "--version")
    if "mount" in probe.stderr:
        pytest.fail(f"file systems can't be mounted here: {probe.stderr}")
    return ours


def bobs_queue(people: People, command: str) -> Path:
    """A queue's file of Bob's, with that command in it."""
    env = people.environ(BOB)
    assert people.run(BOB, "sgs", "submit", "--hold", "--", command, env=env).returncode == 0
    assert people.run(BOB, "sgs", "server", "stop", env=env).returncode == 0
    assert people.run(BOB, "sgs", "release", "1", env=env).returncode == 0
    people.run(BOB, "sgs", "server", "stop", env=env)
    return people.home(BOB) / "state" / "queue" / HOST / "queue.sqlite3"


def test_nobody_s_command_is_run_as_somebody_else(
    people: People, network: NetworkHome, kernel: str
) -> None:
    """O1: Bob comes first in /var/tmp, and later puts a link in place of the queue's folder."""
    program = f"id -u > {shlex.quote(str(people.path))}/ran-as"
    database = bobs_queue(people, program)
    (people.path / "ran-as").unlink(missing_ok=True)
    assert people.run(ALICE, "sgs", "lease", "--on", "7", "--", "true").returncode == 0
    give(network.local / f"simple-gpu-scheduler-{ALICE}", BOB, 0o777)
    assert network.run("sgs", "server", "start", "--gpus", "0").returncode == 0
    assert network.run("sgs", "submit", "--", "true").returncode == 0
    assert network.run("sgs", "wait", "1").returncode == 0
    assert network.run("sgs", "server", "stop").returncode == 0
    bob = people.attack(
        BOB,
        """
upper, leases, database, host = sys.argv[1:]
open(leases + "/queue.sqlite3", "wb").write(open(database, "rb").read())
os.chmod(leases + "/queue.sqlite3", 0o666)
if os.path.exists(upper + "/queue"):
    os.rename(upper + "/queue", upper + "/aside")
os.mkdir(upper + "/queue", 0o777)
os.symlink(leases, upper + "/queue/" + host)
print(flush=True)
""",
        str(network.local / f"simple-gpu-scheduler-{ALICE}"), str(people.leases),
        str(database), HOST,
    )  # fmt: skip
    assert bob.wait(60) == 0
    network.run("sgs", "server", "start", "--gpus", "0")
    assert network.run("sgs", "submit", "--", "echo mine").stdout == "2\n"
    assert network.run("sgs", "wait", "1", "2").returncode == 0
    assert not (people.path / "ran-as").exists()
    assert stat.S_IMODE(people.leases.stat().st_mode) == 0o1777
    assert '"id": 2' in network.run("sgs", "status", "--all", "--json").stdout


@pytest.mark.parametrize("umask", [0, 0o002, 0o077])
def test_a_queue_in_var_tmp_is_its_user_s_alone_from_the_first_folder_on(
    network: NetworkHome, umask: int
) -> None:
    assert network.run("sgs", "submit", "--hold", "--", "true", umask=umask).returncode == 0
    network.run("sgs", "server", "stop")
    folders = [path for path in network.folders() if path.is_dir()]
    assert f"simple-gpu-scheduler-{ALICE}" in {path.name for path in folders}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    assert {path.stat().st_mode & 0o077 for path in network.folders()} == {0}


def test_who_takes_the_names_in_var_tmp_and_gives_them_back_loses_nobody_a_job(
    network: NetworkHome,
) -> None:
    for number in ("", ".1"):
        give(network.local / f"simple-gpu-scheduler-{ALICE}{number}", BOB, 0o700)
    assert network.run("sgs", "submit", "--hold", "--", "true").stdout == "1\n"
    for number in ("", ".1"):
        (network.local / f"simple-gpu-scheduler-{ALICE}{number}").rmdir()
    assert network.run("sgs", "submit", "--hold", "--", "true").stdout == "2\n"
    network.run("sgs", "server", "stop")


@pytest.mark.parametrize("umask", [0, 0o002, 0o077])
def test_folders_that_are_made_are_one_s_own_whatever_the_umask(
    people: People, umask: int
) -> None:
    """Also the state's parents, in a home where nothing was kept before."""
    env = people.environ(ALICE)
    del env["SGS_STATE_DIR"]
    for words in (["server", "start", "--gpus", "0"], ["submit", "--", "true"], ["wait", "1"]):
        done = people.run(ALICE, "sgs", *words, env=env, umask=umask)
        assert (done.returncode, done.stderr) == (0, "")
    kept = list((people.home(ALICE) / ".local").rglob("*"))
    assert (people.home(ALICE) / ".local/state/simple-gpu-scheduler/queue" / HOST) in kept
    assert {path.lstat().st_mode & 0o077 for path in kept} == {0}


def _weak(people: People, kind: str) -> tuple[Path, str]:
    """A state folder with something wrong about it, and what is to be said of it."""
    top = give(people.path / "place with 'a quote'", ALICE, 0o700)
    state = give(top / "state", ALICE, 0o700)
    queue = state / "queue"
    host = queue / HOST
    if kind == "above, for everybody":
        top.chmod(0o777)
        return state, f"{top} can be written by everybody"
    if kind == "above, for a group":
        os.chown(top, ALICE, 60999)
        top.chmod(0o770)
        return state, f"{top} can be written by others (group 60999)"
    if kind == "above, another's":
        give(top, BOB, 0o755)
        return state, f"{top} belongs to {BOB}"
    if kind == "another's link above":
        top.chmod(0o1777)
        link = top / "link"
        link.symlink_to(state)
        os.chown(link, BOB, BOB, follow_symlinks=False)
        return link, f"{link} is a link that {BOB} made"
    if kind == "a link of one's own":
        give(people.path / "elsewhere", ALICE, 0o700)
        queue.symlink_to(people.path / "elsewhere")
        os.chown(queue, ALICE, ALICE, follow_symlinks=False)
        return state, f"{queue} is a symbolic link"
    if kind == "the queue's, another's":
        give(queue, BOB, 0o777)
        return state, f"{queue} belongs to {BOB}"
    give(queue, ALICE, 0o700)
    if kind == "the queue's, for everybody":
        queue.chmod(0o777)
        return state, f"{queue} can be written by everybody"
    if kind == "sticky":
        give(host, ALICE, 0o1777)
        return state, f"{host} can be written by everybody"
    give(host, ALICE, 0o700)
    if kind == "another's file":
        (host / "queue.sqlite3").touch()
        os.chown(host / "queue.sqlite3", BOB, BOB)
        return state, f"{host / 'queue.sqlite3'} belongs to {BOB}"
    (host / "server.log").touch()
    os.chown(host / "server.log", ALICE, ALICE)
    os.link(host / "server.log", people.home(ALICE) / "letter")
    return state, f"{host / 'server.log'} has a second name"


@pytest.mark.parametrize(
    "kind",
    ["above, for everybody", "above, for a group", "above, another's", "another's link above",
     "a link of one's own", "the queue's, another's", "the queue's, for everybody", "sticky",
     "another's file", "a second name"],
)  # fmt: skip
def test_a_path_is_as_safe_as_its_weakest_folder(people: People, kind: str) -> None:
    state, what = _weak(people, kind)
    before = {path: path.lstat().st_mode for path in people.path.rglob("*")}
    status, said = submit(people, "touch", str(people.path / "ran"), state=state)
    assert (status, said.count("\n")) == (1, 1), said
    assert what in said
    assert "name another directory by SGS_STATE_DIR" in said
    assert not (people.path / "ran").exists()
    assert {path: path.lstat().st_mode for path in before} == before, "nothing was changed"


def test_an_installation_that_is_unsafe_is_told_the_line_that_mends_it(people: People) -> None:
    """Made under umask 0 by a version before, which left the folders above to the umask."""
    assert submit(people, "echo", "first")[0] == 0
    state = people.home(ALICE) / "state"
    for path in (state, state / "queue"):
        path.chmod(0o777)
    env = people.environ(ALICE)
    for path in (state, state / "queue"):
        status, said = submit(people, "echo", "second")
        assert status == 1
        line = f"chmod go-w {path}"
        assert f"{path} can be written by everybody" in said
        assert f"(to fix it: {line})" in said
        assert people.run(ALICE, "sh", "-c", line).returncode == 0
    assert submit(people, "echo", "second")[0] == 0
    assert people.run(ALICE, "sgs", "logs", "1", env=env).stdout == "first\n"


def test_a_folder_that_is_swapped_for_a_link_all_the_time(people: People, kernel: str) -> None:
    """Bob's own names in a folder that all can write change between any two looks."""
    target = give(people.home(ALICE) / "precious", ALICE, 0o1777)
    place = give(people.path / "state", BOB, 0o777)
    link = people.path / "link"
    link.symlink_to(target)
    os.chown(link, BOB, BOB, follow_symlinks=False)
    attacker = people.attack(BOB, SWAP, str(link), str(place))
    for _ in range(20):
        status, said = submit(people, "touch", str(people.path / "ran"), state=place / "mine")
        assert status == 1
        assert f"belongs to {BOB}" in said or f"is a link that {BOB} made" in said
    assert attacker.poll() is None
    assert list(target.iterdir()) == []


def test_a_private_group_is_nobody_else(people: People, tmp_path: Path) -> None:
    """Many systems give each user a group of his own, and umask 002: that is no weak folder."""
    home = people.home(ALICE)
    users, groups = tmp_path / "passwd", tmp_path / "group"
    users.write_text(f"root:x:0:0::/root:/bin/sh\nalice:x:{ALICE}:{ALICE}::{home}:/bin/sh\n")
    groups.write_text(f"root:x:0:\nalice:x:{ALICE}:\n")
    home.chmod(0o770)
    script = f'mount --bind {users} /etc/passwd && mount --bind {groups} /etc/group && "$@"'
    command = as_user(ALICE, [people.env["PATH"].partition(":")[0] + "/sgs", "submit", "--hold",
                              "--", "true"])  # fmt: skip
    words = ["unshare", "--mount", "sh", "-c", script, "sh", *command]
    env = people.environ(ALICE)
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    os.chown(home, ALICE, 60999)
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{home} can be written by others" in done.stderr


def test_servers_end(people: People) -> None:
    """What these tests start is gone when they are over."""
    assert submit(people, "true")[0] == 0
    pid = int(people.run(ALICE, "sgs", "server", "status", "--json").stdout.split('"pid": ')[1]
              .split(",")[0].rstrip("}\n"))  # fmt: skip
    people.close()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the server ends")
