"""Each step of the protocol at which somebody may die: no job is lost, started twice or wrong."""

from __future__ import annotations

import os
import signal

from .conftest import Queue, wait_until
from .witnesses import Witnesses


def test_an_orphan_whose_launcher_s_journal_is_gone_is_not_started_again(
    queue: Queue, witnesses: Witnesses
) -> None:
    queue.start()
    (job,) = queue.submit(witnesses.command(-1, 3))
    wait_until(lambda: witnesses.begun(), "it runs")
    wait_until(lambda: queue.store.running()[0][0].pid, "that is written down")
    (launcher,) = queue.launchers()
    os.kill(launcher, signal.SIGKILL)
    (other,) = queue.submit(witnesses.command(1, 0))
    queue.wait(other)
    assert queue.server is not None
    queue.server.kill()
    queue.server.wait()
    wait_until(lambda: not queue.launchers(), "the other launcher has nothing to do")
    for journal in queue.folder.glob("*.journal"):  # an earlier version removed them
        journal.unlink()
    queue.start()
    (third,) = queue.submit(witnesses.command(1, 0))
    queue.wait(third)
    witnesses.go()
    queue.wait(job)
    verdict = witnesses.verdict(queue.database, [job, other, third])
    assert verdict.complaints() == {}
    assert verdict.unknown == [job]
