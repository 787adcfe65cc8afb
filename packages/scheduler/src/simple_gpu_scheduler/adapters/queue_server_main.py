"""The server as a process: one for each queue, whoever starts it."""

from __future__ import annotations

import json
import os
import sys
import time

from simple_gpu_scheduler.adapters.chosen_gpus import chosen_gpus, watch_cards
from simple_gpu_scheduler.adapters.file_locks import lock_alone
from simple_gpu_scheduler.adapters.lease_holder import LeaseHolder
from simple_gpu_scheduler.adapters.lease_view import LeaseView
from simple_gpu_scheduler.adapters.leases import LeaseDir
from simple_gpu_scheduler.adapters.queue_home import DATABASE, LOCK
from simple_gpu_scheduler.adapters.queue_server import QueueServer
from simple_gpu_scheduler.adapters.queue_store import QueueStore
from simple_gpu_scheduler.adapters.queue_wait import QueueWait
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.model import Card, PipePolicy
from simple_gpu_scheduler.policy.orders import PACKING_ORDER


def serve(folder: str) -> int:
    """Be the server, unless there is one already."""
    lock_fd = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not lock_alone(lock_fd):
        return 0
    os.makedirs(os.path.join(folder, "logs"), mode=0o700, exist_ok=True)
    store = QueueStore(os.path.join(folder, DATABASE))
    wait = QueueWait(folder)
    words = store.setting("gpus")
    gpus = chosen_gpus(words.split(",") if words else None, _say)
    view = LeaseView(
        LeaseDir(),
        [Card(name) for name in gpus.keys],
        gpus.keys,
        uuids=gpus.uuids,
        watch=watch_cards(gpus, avoid_strangers=not words),
    )
    server = QueueServer(
        folder, store, LeaseHolder(view), wait, PipePolicy(order=PACKING_ORDER), _say
    )
    about = {"pid": os.getpid(), "since_s": round(time.time(), 3)}
    os.ftruncate(lock_fd, 0)
    os.pwrite(lock_fd, json.dumps(about).encode(), 0)
    server.run()
    wait.close()
    os.close(lock_fd)  # at once: the interpreter takes its time to end
    return 0


def _say(text: str) -> None:
    print(time.strftime("%F %T"), text, file=sys.stderr, flush=True)


def main() -> None:
    """Run as a process: FOLDER."""
    try:
        sys.exit(serve(sys.argv[1]))
    except SgsError as error:
        _say(f"error: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
