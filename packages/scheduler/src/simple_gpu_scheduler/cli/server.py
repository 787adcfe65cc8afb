"""`sgs server`: the process that starts the queue's jobs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from simple_gpu_scheduler.adapters.queue_home import QueueHome
from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.gpu_ids import parse_gpu_ids

_EPILOG = """\
status   is there one, and where is its log (--json: an object with pid, since_s, folder, gpus)
start    start it; it starts by itself when a job is submitted
stop     end it; jobs that run go on, and the next server takes over
drain    start no more jobs, until resume
resume   start jobs again

--gpus 0,1 (with start) are the GPUs that it uses from now on; --gpus all: those of the machine,
but for those that strangers use.

examples:
  sgs server start --gpus 0,1
  sgs server status --json"""


def main(argv: Sequence[str]) -> int:
    """Do what is asked; returns the exit status."""
    args = _parser().parse_args(argv)
    home = QueueHome()
    if args.what == "status":
        return _status(home, as_json=args.json)
    if args.what == "stop":
        print("stopped" if home.stop_server() else "there is no server")
        return 0
    if args.what == "start" and args.gpus is not None:
        _choose(home, args.gpus)
    elif args.what in ("drain", "resume"):
        home.store.set("drained", "1" if args.what == "drain" else "")
    home.start_server()
    return 0


def _choose(home: QueueHome, words: str) -> None:
    gpus = "" if words == "all" else ",".join(parse_gpu_ids([words]))
    if gpus != home.store.setting("gpus"):
        home.store.set("gpus", gpus)
        if home.server_pid() is not None and not home.stop_server():
            raise SgsError("the server that runs doesn't end; see sgs server status")


def _status(home: QueueHome, *, as_json: bool) -> int:
    about = home.server()
    gpus = home.store.setting("gpus")
    if as_json:
        known = {"folder": home.folder, "gpus": gpus.split(",") if gpus else None}
        print(json.dumps({**(about or {"pid": None, "since_s": None}), **known}))
    elif about is None:
        words = home.last_words()
        print(f"There is no server{': ' + words if words else ''}. Its folder: {home.folder}")
    else:
        drained = ", drained" if home.store.setting("drained") else ""
        which = f"GPUs {gpus}" if gpus else "all GPUs"
        print(f"The server is process {about['pid']}, on {which}{drained}.")
        print(f"Its folder: {home.folder}")
    return 0 if about is not None else 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="sgs server",
        allow_abbrev=False,
        description="The process that starts the queue's jobs: one for each user and machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("status", "start", "stop", "drain", "resume"))
    parser.add_argument("--gpus", metavar="ID,...", help="with start: on these GPUs, or all")
    parser.add_argument("--json", action="store_true", help="with status: an object")
    return parser
