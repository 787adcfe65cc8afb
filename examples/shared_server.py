"""A server of eight GPUs that three people share, as a terminal shows it. No GPU is needed.

    sudo python3 examples/shared_server.py

The cards are those of the fake driver (packages/scheduler/fake_nvml). Root is needed for the
users anna, bob and carol: they exist for this program and its children alone. Everything waits
for events; nothing for time. Ends with status 1 if something didn't happen.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
USERS = {"anna": 61001, "bob": 61002, "carol": 61003}
READER = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]  # Python may be root's


class Server:
    """The machine, and what its users type."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "eight-cards.state"
        self.environ = {
            "PATH": f"{BIN}:/usr/bin:/bin",
            "LD_LIBRARY_PATH": str(compile_driver(folder)),
            "FAKE_NVML_STATE": str(self.state),
            "SGS_LEASE_DIR": str(folder / "leases"),
            "COLUMNS": "100",
        }

    def cards(self, stranger_pid: int | None) -> None:
        """Eight cards; on GPU 1 a process that has no lease."""
        cards = [
            f"card GPU-{number}\nname NVIDIA H100 80GB HBM3\nmemory 81559 551\nutilisation 0\n"
            "temperature 31\npower 71\n"
            for number in range(8)
        ]
        if stranger_pid is not None:
            cards[1] += f"utilisation 97\nprocess {stranger_pid} 40960\n"
        new = self.state.with_suffix(".new")
        new.write_text("".join(cards))
        new.replace(self.state)

    def start(self, user: str, command: str, said: str = "") -> subprocess.Popen[str]:
        """Start what a user types; shows it."""
        print(f"{user}$ {said or command}", flush=True)
        uid = USERS[user]
        become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *READER]
        return subprocess.Popen(
            [*become, "sh", "-c", command],
            env=self.environ,
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, user: str, command: str) -> None:
        """Run what a user types to its end; shows it and what it prints."""
        done = self.start(user, command)
        assert done.stdout is not None
        print(done.stdout.read(), end="", flush=True)
        done.wait()
        close(done)


def compile_driver(folder: Path) -> Path:
    """The fake libnvidia-ml.so.1, for LD_LIBRARY_PATH."""
    source = ROOT / "packages/scheduler/fake_nvml/fake_nvml.c"
    library = folder / "driver"
    library.mkdir()
    target = library / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", target, source], check=True)
    return library


def name_users(folder: Path) -> None:
    """Give the users names, in a mount namespace of our own."""
    passwd = folder / "passwd"
    lines = [f"{name}:x:{uid}:{uid}::/nonexistent:/bin/sh\n" for name, uid in USERS.items()]
    passwd.write_text(Path("/etc/passwd").read_text() + "".join(lines))
    passwd.chmod(0o644)
    subprocess.run(["mount", "--bind", passwd, "/etc/passwd"], check=True)


def show(program: subprocess.Popen[str], lines: int) -> None:
    """Wait for so many lines of a program, and print them in their order of GPUs."""
    assert program.stdout is not None
    for line in sorted(program.stdout.readline() for _ in range(lines)):
        print(line, end="", flush=True)


def show_start(program: subprocess.Popen[str]) -> None:
    """Wait for the next start, and print it; whom it waited for meanwhile depends on luck."""
    assert program.stdout is not None
    print(next(line for line in program.stdout if line.startswith("Processing")), end="")


def tell(program: subprocess.Popen[str], text: str = "\n") -> None:
    """Write to a program's stdin."""
    assert program.stdin is not None
    program.stdin.write(text)
    program.stdin.flush()


def close(program: subprocess.Popen[str]) -> None:
    """Close the pipes to a program that has ended."""
    for pipe in (program.stdin, program.stdout):
        if pipe is not None and not pipe.closed:
            pipe.close()


def session(server: Server) -> None:
    """What happens on the server."""
    carol = server.start(
        "carol", "exec python3 -c 'print(flush=True); input()'", "python3 train.py &"
    )
    assert carol.stdout is not None
    carol.stdout.readline()
    server.cards(carol.pid)
    gates = server.folder / "gates"
    os.mkfifo(gates)
    gates.chmod(0o666)
    sweep = "for n in 1 2 3 4 5 6 7 8 9; do echo 'head -c 1 gates > /dev/null'; done"
    anna = server.start(
        "anna", f"{sweep} | simple_gpu_scheduler", "simple_gpu_scheduler < sweep.txt &"
    )
    show(anna, 7)
    show(anna, 1)
    server.run("bob", "sgs gpus")
    server.run("bob", "sgs lease --no-wait -- python3 train.py; echo exit status $?")
    bob = server.start(
        "bob",
        "echo 'echo bob has GPU $CUDA_VISIBLE_DEVICES' | simple_gpu_scheduler",
        "simple_gpu_scheduler < mine.txt",
    )
    show(bob, 1)
    with open(gates, "w") as gate:
        print("# one of anna's jobs ends: her next one has waited for longer than bob", flush=True)
        tell_gate(gate, 1)
        show(anna, 1)
        print("# one more ends: now it is bob's turn", flush=True)
        tell_gate(gate, 1)
        show(bob, 1)
        show(bob, 1)
        bob.wait()
        show_start(anna)
        print("# carol's training ends", flush=True)
        server.cards(None)
        tell(carol)
        carol.wait()
        server.run("bob", "sgs lease -- sh -c 'echo bob has GPU $CUDA_VISIBLE_DEVICES'")
        tell_gate(gate, 7)
        anna.wait()
    for program in (anna, bob, carol):
        close(program)
    if (anna.returncode, bob.returncode, carol.returncode) != (0, 0, 0):
        sys.exit(1)


def tell_gate(gate: object, jobs: int) -> None:
    """Let so many jobs end."""
    gate.write("x" * jobs)  # type: ignore[attr-defined]
    gate.flush()  # type: ignore[attr-defined]


def main() -> None:
    """Run the session on a machine of its own."""
    if os.geteuid() != 0:
        sys.exit("shared_server.py: run it as root: it starts programs of three users")
    if "--inside" not in sys.argv:
        os.execvp("unshare", ["unshare", "--mount", sys.executable, __file__, "--inside"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o1777)
        name_users(folder)
        session(Server(folder))
        subprocess.run(["umount", "/etc/passwd"], check=True)


if __name__ == "__main__":
    main()
