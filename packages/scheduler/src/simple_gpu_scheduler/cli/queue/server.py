"""`sgs server`: the process that starts the queue's jobs."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence

from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.gpus.ids import parse_gpu_ids
from simple_gpu_scheduler.policy.orders import PLACEMENTS
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.store.settings import ServerSettings
from simple_gpu_scheduler.system.fds import print_lines
from simple_gpu_scheduler.units.sizes import parse_memory_mib

_EPILOG = """\
status   is there one, on which GPUs, and where is its log (exit status 1 if there is none; --json:
         an object with pid, since_s, folder, gpus, drained and the choices below)
start    start it; it starts by itself when a job is submitted
stop     end it; jobs that run go on, and the next server takes over
drain    start no more jobs, until resume
resume   start jobs again
unit     print a unit for systemd, so that the queue goes on after a restart of the machine:
         sgs server unit > ~/.config/systemd/user/sgs.service
         systemctl --user enable --now sgs; loginctl enable-linger

With start, options say how the server uses the machine from now on; a server that runs is
replaced, and its jobs run on. --gpus all: the GPUs of the machine, but for those that strangers
use.

examples:
  sgs server start --gpus 0,1
  sgs server start --gpus all --keep-free 1
  sgs server status --json"""

_WHATS = ("status", "start", "stop", "drain", "resume", "unit")


def main(argv: Sequence[str]) -> int:
    """Do what is asked; returns the exit status."""
    args = _parser().parse_args(argv)
    chosen = _chosen(args)
    if chosen and args.what != "start":
        raise UsageError(f"--{next(iter(chosen)).replace('_', '-')} is for `sgs server start`")
    home = QueueHome()
    if args.what == "status":
        return _status(home, as_json=args.json)
    if args.what == "unit":
        print_lines(*_unit(home).splitlines())
    elif args.what == "stop":
        return _stop(home)
    elif args.what == "drain":
        home.store.set("drained", "1")
        home.wake()
    else:
        if args.what == "resume":
            home.store.set("drained", "")
        _start(home, chosen)
    return 0


def _chosen(args: argparse.Namespace) -> dict[str, str]:
    """The settings that were given, as they are kept."""
    chosen: dict[str, str] = {}
    if args.gpus is not None:
        chosen["gpus"] = "" if args.gpus == "all" else ",".join(parse_gpu_ids([args.gpus]))
    if args.idle_memory is not None:
        chosen["idle_memory_mib"] = str(parse_memory_mib(args.idle_memory, "--idle-memory"))
    for name in ("idle_utilisation_percent", "keep_free", "placement"):
        value = getattr(args, name)
        if value is not None:
            chosen[name] = str(value)
    return chosen


def _start(home: QueueHome, chosen: dict[str, str]) -> None:
    """Start a server that keeps to these settings; if none can, all is as it was before."""
    before = {name: home.store.setting(name) for name in chosen}
    if chosen == before:
        home.start_server()
        return
    _keep(home, chosen)
    stopped = _stop_if_any(home)
    try:
        home.start_server()
    except SgsError as error:
        _keep(home, before)
        if stopped:
            home.start_server()
        raise SgsError(f"{error}; nothing is changed") from None


def _keep(home: QueueHome, chosen: dict[str, str]) -> None:
    for name, value in chosen.items():
        home.store.set(name, value)


def _stop(home: QueueHome) -> int:
    print_lines("stopped" if _stop_if_any(home) else "there is no server")
    return 0


def _stop_if_any(home: QueueHome) -> bool:
    if home.stop_server():
        return True
    pid = home.server_pid()
    if pid is None:
        return False
    raise SgsError(
        f"the server, process {pid}, doesn't end: it may be stopped (kill -CONT {pid}), or wait "
        f"for a disk; kill -9 {pid} loses nothing"
    )


def _status(home: QueueHome, *, as_json: bool) -> int:
    about = home.server()
    gpus = home.store.setting("gpus")
    drained = home.store.setting("drained") == "1"
    settings = ServerSettings.read(home.store)
    if as_json:
        known: dict[str, object] = {"folder": home.folder}
        known["gpus"] = gpus.split(",") if gpus else None
        known |= {"drained": drained, **settings._asdict()}
        print_lines(json.dumps({**(about or {"pid": None, "since_s": None}), **known}))
    elif about is None:
        words = home.last_words()
        print_lines(
            f"There is no server{': ' + words if words else ''}. Its folder: {home.folder}"
        )
    else:
        which = f"GPUs {gpus}" if gpus else "all GPUs"
        changed = [
            f"{name.replace('_', ' ')} {value}"
            for name, value in settings._asdict().items()
            if value != ServerSettings._field_defaults[name]
        ]
        rest = "".join(f", {one}" for one in [*changed, *(["drained"] if drained else [])])
        print_lines(f"The server is process {about['pid']}, on {which}{rest}.")
        print_lines(f"Its folder: {home.folder}")
    return 0 if about is not None else 1


def _unit(home: QueueHome) -> str:
    """A unit for systemd (systemd.service(5)). It ends the server alone: jobs outlive it."""
    command = " ".join(_quoted(word) for word in home.server_command())
    state = "".join(
        f"Environment={_quoted(f'{name}={value}')}\n" for name, value in home.own_environ().items()
    )
    return f"""\
[Unit]
Description=The GPU queue of this user (sgs)

[Service]
{state}ExecStart={command}
KillMode=process
Restart=on-failure
RestartSec=5

[Install]
WantedBy=default.target
"""


def _quoted(word: str) -> str:
    """As systemd reads it (systemd.syntax(7))."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    escaped = "".join(one if one.isprintable() else _as_bytes(one) for one in escaped)
    return f'"{escaped}"'.replace("%", "%%").replace("$", "$$")


def _as_bytes(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def _parser() -> argparse.ArgumentParser:
    from simple_gpu_scheduler.cli.parser import whole

    parser = Parser(
        prog="sgs server",
        allow_abbrev=False,
        description="The process that starts the queue's jobs: one for each user and machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("what", choices=_WHATS)
    add("--gpus", metavar="ID,...", help="on these GPUs, or all")
    add("--keep-free", type=whole(0, 4096), metavar="N", help="leave others N free ones (0)")
    add("--idle-memory", metavar="SIZE", help="without --gpus: see simple_gpu_scheduler (1G)")
    add(
        "--idle-utilisation",
        type=whole(0, 101),
        metavar="PERCENT",
        dest="idle_utilisation_percent",
        help="likewise (10)",
    )
    add("--placement", choices=PLACEMENTS, help="pack: fill GPUs in use first; spread: empty ones")
    add("--json", action="store_true", help="with status: an object")
    return parser
