"""The subcommands of `sgs` for the queue, such as submit, status, logs, wait and cancel.

They read and write the queue's file through `queue.home.QueueHome`, which also wakes the server.
No command asks the server for anything but its end, or a cancellation on a full disk. So all of
them work while no server runs.

- `submit` prints the number of a job after it is on the disk, and starts a server before that.
- A command that waits (`wait`, `logs -f`, `status --watch`) sleeps until the queue's file changes
  (`queue.changes`). If the server was killed, it starts another one.
- `jobs` has what they share: naming jobs, waiting, and a job's state in words. `table` and
  `listing` print them. Both are also used by `sgs` without a command.

First open `jobs`, then `submit`.
"""
