"""`sgs server`: look at, start or stop the process that starts the queue's jobs."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence

from simple_gpu_scheduler.cli.parser import Parser, whole
from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.gpus.ids import parse_gpu_ids
from simple_gpu_scheduler.policy.orders import PLACEMENTS
from simple_gpu_scheduler.queue.home import QueueHome
from simple_gpu_scheduler.queue.store.settings import ServerSettings
from simple_gpu_scheduler.system.fds import print_lines
from simple_gpu_scheduler.units.sizes import parse_memory_mib

_DESCRIPTION = """\
Control the server: the process that decides which job of the queue starts next. Each user has one
on each machine.

actions:
  status   show whether a server runs, on which GPUs, and the folder with its log
  start    start the server; sgs submit does that by itself
  stop     end the server; running jobs continue, and the next server takes over
  drain    start no more jobs until resume; running jobs continue
  resume   start jobs again
  unit     print a unit for systemd, so that the queue continues after a restart of the machine

The options of start stay in force until you change them. If they change, the server that runs is
replaced by a new one, and running jobs continue."""

_EPILOG = """\
status --json prints an object with pid, since_s, folder, gpus, drained, keep_free, placement,
idle_memory_mib and idle_utilisation_percent. since_s is in seconds since 1970.

exit status: 0; status: 1 if there is no server.

examples:
  sgs server start --gpus 0,1
  sgs server start --gpus all --keep-free 1
  sgs server status --json
  sgs server unit > ~/.config/systemd/user/sgs.service
  systemctl --user enable --now sgs; loginctl enable-linger"""

_ACTIONS = ("status", "start", "stop", "drain", "resume", "unit")


def main(argv: Sequence[str]) -> int:
    """Run the action; returns the exit status."""
    args = _parser().parse_args(argv)
    settings = _settings(args)
    if settings and args.action != "start":
        raise UsageError(f"--{next(iter(settings)).replace('_', '-')} is for `sgs server start`")
    home = QueueHome()
    if args.action == "status":
        return _status(home, as_json=args.json)
    if args.action == "unit":
        print_lines(*_unit(home).splitlines())
    elif args.action == "stop":
        return _stop(home)
    elif args.action == "drain":
        home.store.set("drained", "1")
        home.wake()
    else:
        if args.action == "resume":
            home.store.set("drained", "")
        _start(home, settings)
    return 0


def _settings(args: argparse.Namespace) -> dict[str, str]:
    """Return the settings that the options name, as the queue keeps them."""
    settings: dict[str, str] = {}
    if args.gpus is not None:
        settings["gpus"] = "" if args.gpus == "all" else ",".join(parse_gpu_ids([args.gpus]))
    if args.idle_memory is not None:
        settings["idle_memory_mib"] = str(parse_memory_mib(args.idle_memory, "--idle-memory"))
    for name in ("idle_utilisation_percent", "keep_free", "placement"):
        value = getattr(args, name)
        if value is not None:
            settings[name] = str(value)
    return settings


def _start(home: QueueHome, settings: dict[str, str]) -> None:
    """Start a server with these settings. If that fails, the settings before are restored."""
    before = {name: home.store.setting(name) for name in settings}
    if settings == before:
        home.start_server()
        return
    _write_settings(home, settings)
    was_running = _stop_if_any(home)
    try:
        home.start_server()
    except SgsError as error:
        _write_settings(home, before)
        if was_running:
            home.start_server()
        raise SgsError(f"{error}; nothing is changed") from None


def _write_settings(home: QueueHome, settings: dict[str, str]) -> None:
    for name, value in settings.items():
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
        f"for a disk; kill -9 {pid} ends it, and loses no job"
    )


def _status(home: QueueHome, *, as_json: bool) -> int:
    server = home.server()
    gpus = home.store.setting("gpus")
    drained = home.store.setting("drained") == "1"
    settings = ServerSettings.read(home.store)
    if as_json:
        status: dict[str, object] = {"folder": home.folder}
        status["gpus"] = gpus.split(",") if gpus else None
        status |= {"drained": drained, **settings._asdict()}
        print_lines(json.dumps({**(server or {"pid": None, "since_s": None}), **status}))
    elif server is None:
        error = home.last_words()
        print_lines(
            f"There is no server{': ' + error if error else ''}. Its folder: {home.folder}"
        )
    else:
        which = f"GPUs {gpus}" if gpus else "all GPUs"
        changed = [
            f"{name.replace('_', ' ')} {value}"
            for name, value in settings._asdict().items()
            if value != ServerSettings._field_defaults[name]
        ]
        rest = "".join(f", {text}" for text in [*changed, *(["drained"] if drained else [])])
        print_lines(f"The server is process {server['pid']}, on {which}{rest}.")
        print_lines(f"Its folder: {home.folder}")
    return 0 if server is not None else 1


def _unit(home: QueueHome) -> str:
    """Return a unit for systemd (systemd.service(5)). It ends the server, but not its jobs."""
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
    """Quote a word for systemd (systemd.syntax(7))."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    escaped = "".join(c if c.isprintable() else _as_bytes(c) for c in escaped)
    return f'"{escaped}"'.replace("%", "%%").replace("$", "$$")


def _as_bytes(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="sgs server", description=_DESCRIPTION, epilog=_EPILOG)
    add = parser.add_argument
    add("action", choices=_ACTIONS, help="what to do, see above")
    add(
        "--gpus",
        metavar="ID,...",
        help="ids of the GPUs to use (with start), such as 0,1, or UUIDs; all: all GPUs of the "
        "machine, except those that foreign processes use (default: all)",
    )
    add(
        "--keep-free",
        type=whole(0, 4096),
        metavar="N",
        help="number of free GPUs to leave to others (with start; default 0)",
    )
    add(
        "--idle-memory",
        metavar="SIZE",
        help="with start and --gpus all: use no GPU on which foreign processes (those without a "
        "lease) have this much memory or more (default 1G)",
    )
    add(
        "--idle-utilisation",
        type=whole(0, 101),
        metavar="PERCENT",
        dest="idle_utilisation_percent",
        help="with start and --gpus all: use no GPU that foreign processes keep busy for this "
        "percentage of the time or more (default 10)",
    )
    add(
        "--placement",
        choices=PLACEMENTS,
        help="with start: pack prefers GPUs that are in use already, spread prefers the emptiest; "
        "default is spread, but jobs with --vram go where they leave the most useful rest",
    )
    add("--json", action="store_true", help="with status: print a JSON object instead of text")
    return parser
