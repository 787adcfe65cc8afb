"""`simple_gpu_scheduler` (the same as `sgs run`): runs the commands of stdin on free GPUs.

`options` reads the command line into `Settings`. `command` opens all that the pipe needs (stdin,
leases, results directory, job log, events, progress bar), hands it to `pipe.loop.Pipe`, and closes
it at the end. What an option doesn't ask for is neither opened nor imported. `dry_run` prints the
commands instead, and takes no lease.

The outputs are opened before the first job starts, so a wrong path costs no job. First open
`command`.
"""
