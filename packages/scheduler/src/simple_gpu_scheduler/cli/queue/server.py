"""`sgs server`: show, start, stop or pause the server of the queue."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

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

`sgs server ACTION --help` explains an action and its options."""

_EPILOG = """\
exit status: 0, or 1 if an action fails; status: 1 if there is no server; 2: wrong usage.

examples:
  sgs server start --gpus 0,1
  sgs server status
  sgs server stop"""


class _Action(NamedTuple):
    what: str  #: what it does, on one line
    more: str  #: the rest of its description
    epilog: str


_ACTIONS = {
    "status": _Action(
        "show whether a server runs, on which GPUs, and the folder with its log",
        "",
        "--json prints an object with pid, since_s, folder, gpus, drained, keep_free, placement,\n"
        "idle_memory_mib and idle_utilisation_percent. since_s is in seconds since 1970.\n\n"
        "exit status: 0, or 1 if there is no server.\n\n"
        "examples:\n  sgs server status\n  sgs server status --json",
    ),
    "start": _Action(
        "start the server; sgs submit does that by itself",
        "The options stay in force until you change them. If they change, a new server replaces\n"
        "the one that runs, and running jobs continue.",
        "Sizes: M is MiB and G is GiB: 512M, 10G.\n\n"
        "examples:\n  sgs server start --gpus 0,1\n  sgs server start --gpus all --keep-free 1\n"
        "  sgs server start --placement pack",
    ),
    "stop": _Action(
        "end the server; running jobs continue, and the next server takes over",
        "Until then, no queued job starts. sgs submit or sgs server start starts the next server.",
        "examples:\n  sgs server stop",
    ),
    "drain": _Action(
        "start no more jobs until resume; running jobs continue",
        "You can still submit jobs: they wait.",
        "examples:\n  sgs server drain\n  sgs server resume",
    ),
    "resume": _Action(
        "start jobs again",
        "It undoes sgs server drain, and starts a server if there is none.",
        "examples:\n  sgs server resume",
    ),
    "unit": _Action(
        "print a unit for systemd, so that the queue continues after a restart of the machine",
        "Write it into a file, and enable it.",
        "examples:\n  sgs server unit > ~/.config/systemd/user/sgs.service\n"
        "  systemctl --user enable --now sgs; loginctl enable-linger",
    ),
}


def main(argv: Sequence[str]) -> int:
    """Run the action; returns the exit status."""
    args = _parser().parse_args(_with_action_first(argv))
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


def _with_action_first(argv: Sequence[str]) -> list[str]:
    """Move the action before its options, where sub-parsers expect it."""
    action = next((word for word in argv if word in _ACTIONS), None)
    if action is None:
        return list(argv)
    at = list(argv).index(action)
    return [action, *argv[:at], *argv[at + 1 :]]


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
    actions = parser.add_subparsers(
        title="actions", dest="action", required=True, metavar="ACTION"
    )
    for name, action in _ACTIONS.items():
        first = f"{action.what[0].upper()}{action.what[1:]}."
        one = actions.add_parser(
            name,
            help=action.what,
            prog=f"sgs server {name}",
            description=f"{first}\n\n{action.more}".strip(),
            epilog=action.epilog,
        )
        _add_options(one, name)
    return parser


def _add_options(parser: argparse.ArgumentParser, action: str) -> None:
    """Add the options of an action. Those of the other actions are hidden: `main` refuses them."""

    def add(flag: str, of: str, about: str, **rest: Any) -> None:
        parser.add_argument(flag, help=about if of == action else argparse.SUPPRESS, **rest)

    add(
        "--gpus",
        "start",
        "ids of the GPUs to use, such as 0,1, or UUIDs; all: all GPUs of the machine, except "
        "those that foreign processes use (default: all)",
        metavar="ID,...",
    )
    add(
        "--keep-free",
        "start",
        "number of free GPUs to leave to others (default 0)",
        type=whole(0, 4096),
        metavar="N",
    )
    add(
        "--idle-memory",
        "start",
        "with --gpus all: use no GPU on which foreign processes (those without a lease) have this "
        "much memory or more (default 1G)",
        metavar="SIZE",
    )
    add(
        "--idle-utilisation",
        "start",
        "with --gpus all: use no GPU that foreign processes keep busy for this percentage of the "
        "time or more (default 10)",
        type=whole(0, 101),
        metavar="PERCENT",
        dest="idle_utilisation_percent",
    )
    add(
        "--placement",
        "start",
        "which GPUs jobs get first: pack prefers GPUs in use, spread the emptiest (default: "
        "spread; jobs with --vram go where they leave the most useful rest)",
        choices=PLACEMENTS,
    )
    add("--json", "status", "print a JSON object instead of text", action="store_true")
