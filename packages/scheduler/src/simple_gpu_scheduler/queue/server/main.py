"""The server as a process: `python -m simple_gpu_scheduler.queue.server.main FOLDER`.

It ends at once if the queue has a server already.
"""

from __future__ import annotations

import os
import sys
import time

# Other modules import this one late, so that commands start fast. The server loads it before it
# serves, as the package may be upgraded or removed under it.
import simple_gpu_scheduler.system.inotify  # noqa: F401
from simple_gpu_scheduler.allocation.allocator import Allocator
from simple_gpu_scheduler.allocation.opening import open_availability
from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.files.state_dir import open_queue
from simple_gpu_scheduler.gpus.processes import lineage
from simple_gpu_scheduler.gpus.selection import GpuSelection, select_gpus
from simple_gpu_scheduler.leases.store import FileLeaseStore
from simple_gpu_scheduler.memory.estimates import MemoryEstimates
from simple_gpu_scheduler.memory.meter import DriverMeter
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

#: A submitter waits for the server while another process holds the lock of the leases; after so
#: long the server gives up, and tries again later.
_LEASES_LIMIT_S = 2.0


def serve(folder: str) -> int:
    """Become the server and serve, unless the queue has one; returns the exit status."""
    open_queue(folder, folder).close()
    lock_fd = server_lock.become_server(folder)
    if lock_fd is None:
        return 0
    step("locked")
    os.makedirs(os.path.join(folder, "logs"), mode=0o700, exist_ok=True)
    store = QueueStore(os.path.join(folder, DATABASE), lazy=True)
    mailbox = Mailbox(folder)
    server = _make_server(folder, store, mailbox)
    server_lock.write_owner(lock_fd)
    server.run()
    mailbox.close()
    os.close(lock_fd)  # now, as the interpreter takes a while to end
    if server.is_to_begin_anew:  # only this server knows that there is another file
        os.execv(sys.executable, sys.orig_argv)
    return 0


def _make_server(folder: str, store: QueueStore, mailbox: Mailbox) -> QueueServer:
    names = store.setting("gpus")
    selection = select_gpus(names.split(",") if names else None, _log)
    settings = ServerSettings.read(store)
    availability = open_availability(
        selection,
        FileLeaseStore(patience_s=_LEASES_LIMIT_S),
        keep_free=settings.keep_free,
        avoid_strangers=not names,
        idle_memory_mib=settings.idle_memory_mib,
        idle_utilisation_percent=settings.idle_utilisation_percent,
    )
    allocator = Allocator(availability)
    estimates = MemoryEstimates(read_peaks(peaks_path()))
    observer = Observer(
        folder,
        _open_memory_monitor(selection, estimates),
        lambda: allocator.cards,
        lambda: write_peaks(peaks_path(), estimates.peaks_mib),
    )
    policy = PipePolicy(order=PACKING_ORDER, placement=settings.placement)
    notifier = Notifier(folder, store, _log)
    launchers = Launchers(folder, store)
    return QueueServer(
        store, allocator, mailbox, launchers, observer, notifier, policy, _log, settings.keep_free
    )


def _open_memory_monitor(
    selection: GpuSelection, estimates: MemoryEstimates
) -> MemoryMonitor | None:
    if selection.devices is None:
        return None
    return MemoryMonitor(DriverMeter(selection.devices, lineage, selection.keys), estimates)


def _log(text: str) -> None:
    print_stderr(f"{time.strftime('%F %T')} {text}")  # dropped if there is no room


def main() -> None:
    """Run as a process: FOLDER."""
    try:
        sys.exit(serve(sys.argv[1]))
    except OSError as error:
        _log(f"error: the queue can't be served: {error.filename or ''} ({error.strerror})")
        sys.exit(1)
    except SgsError as error:
        _log(f"error: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
