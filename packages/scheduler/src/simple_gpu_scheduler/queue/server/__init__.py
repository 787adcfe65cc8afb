"""The server of a queue: decides which job starts next, and records how jobs end.

One server runs for each queue; it holds the lock of `server_lock` until it ends. In each turn it
reads what launchers, leases and the queue's file report, plans, writes starts and ends in one
transaction, and orders launchers to start jobs. Then it sleeps in the `Mailbox`.

It may be killed at any step: what it must not forget is in the queue's file and in the journals of
the launchers, and the next server continues from there (`RunningJobs.recover`). No job starts
before its attempt is in the file. If the file can't be written, jobs are still stopped and leases
given back. All modules that it may need are imported before it serves, as the package may be
upgraded or removed under it.

Begin with `server`, then read `running` (jobs that run) and `launchers`.
"""
