"""The server as a process: one for each queue, whoever starts it."""

from __future__ import annotations

import os
import sys
import time

from simple_gpu_scheduler.allocation.allocator import Allocator
from simple_gpu_scheduler.allocation.opening import open_availability
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.files.state_dir import open_queue
from simple_gpu_scheduler.gpus.selection import GpuSelection, select_gpus
from simple_gpu_scheduler.leases.store import FileLeaseStore
from simple_gpu_scheduler.memory.estimates import MemoryEstimates
from simple_gpu_scheduler.memory.monitor import MemoryMonitor
from simple_gpu_scheduler.memory.peaks_file import peaks_path, read_peaks, write_peaks
from simple_gpu_scheduler.policy.model import PipePolicy
from simple_gpu_scheduler.policy.orders import PACKING_ORDER
from simple_gpu_scheduler.queue import server_lock
from simple_gpu_scheduler.queue.home import DATABASE
from simple_gpu_scheduler.queue.mailbox import Mailbox
from simple_gpu_scheduler.queue.server.launchers import Launchers
from simple_gpu_scheduler.queue.server.notifications import Notifier
from simple_gpu_scheduler.queue.server.observer import Observer
from simple_gpu_scheduler.queue.server.server import QueueServer
from simple_gpu_scheduler.queue.store.jobs import QueueStore
from simple_gpu_scheduler.queue.store.settings import ServerSettings
from simple_gpu_scheduler.system.failpoints import step
from simple_gpu_scheduler.system.fds import print_stderr

#: Who submits waits for us meanwhile; we try again later.
_LEASES_LIMIT_S = 2.0


def serve(folder: str) -> int:
    """Be the server, unless there is one already."""
    open_queue(folder, folder).close()
    lock_fd = server_lock.become_server(folder)
    if lock_fd is None:
        return 0
    step("locked")
    os.makedirs(os.path.join(folder, "logs"), mode=0o700, exist_ok=True)
    store = QueueStore(os.path.join(folder, DATABASE), lazy=True)
    wait = Mailbox(folder)
    server = _server(folder, store, wait)
    server_lock.write_owner(lock_fd)
    server.run()
    wait.close()
    os.close(lock_fd)  # at once: the interpreter takes its time to end
    if server.is_to_begin_anew:  # who has put another file there has told us, and nobody else
        os.execv(sys.executable, sys.orig_argv)
    return 0


def _server(folder: str, store: QueueStore, wait: Mailbox) -> QueueServer:
    words = store.setting("gpus")
    gpus = select_gpus(words.split(",") if words else None, _say)
    settings = ServerSettings.read(store)
    view = open_availability(
        gpus,
        FileLeaseStore(patience_s=_LEASES_LIMIT_S),
        keep_free=settings.keep_free,
        avoid_foreign=not words,
        idle_memory_mib=settings.idle_memory_mib,
        idle_utilisation_percent=settings.idle_utilisation_percent,
    )
    leases = Allocator(view)
    learned = MemoryEstimates(read_peaks(peaks_path()))
    sight = Observer(
        folder,
        _care(gpus, learned),
        lambda: leases.cards,
        lambda: write_peaks(peaks_path(), learned.peaks_mib),
    )
    policy = PipePolicy(order=PACKING_ORDER, placement=settings.placement)
    notifier = Notifier(folder, store, _say)
    launchers = Launchers(folder, store)
    return QueueServer(
        store, leases, wait, launchers, sight, notifier, policy, _say, settings.keep_free
    )


def _care(gpus: GpuSelection, learned: MemoryEstimates) -> MemoryMonitor | None:
    if gpus.devices is None:
        return None
    from simple_gpu_scheduler.gpus.processes import lineage
    from simple_gpu_scheduler.memory.meter import DriverMeter

    return MemoryMonitor(DriverMeter(gpus.devices, lineage, gpus.keys), learned)


def _say(text: str) -> None:
    print_stderr(f"{time.strftime('%F %T')} {text}")  # if there is room


def main() -> None:
    """Run as a process: FOLDER."""
    try:
        sys.exit(serve(sys.argv[1]))
    except OSError as error:
        _say(f"error: the queue can't be served: {error.filename or ''} ({error.strerror})")
        sys.exit(1)
    except SgsError as error:
        _say(f"error: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
