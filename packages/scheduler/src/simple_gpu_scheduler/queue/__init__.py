"""The queue: a user's jobs on this machine, kept in one file, and the processes that run them.

A job starts in these steps, so that no attempt is ever made twice, whatever is killed:

1. The server plans, and takes a lease on the GPUs.
2. The server writes the attempt to the queue's file, and then orders a launcher to start it.
3. The launcher writes `begins` to its journal, starts the process, and writes `runs`.
4. When the process has ended, the launcher writes `exits` before the kernel forgets the exit
   status, and `ended` with the CPU time and memory that it used.
5. The server reads the journal and writes the end to the queue's file.

The queue's file is written by submitters and by the server; a journal by its launcher alone. A
server that begins compares the file with the journals and the processes (`recovery`).

`store/` is the file, `server/` and `launcher/` are the processes, `worktrees/` keeps scripts and
copies of the code beside the file. Pure modules: attempts, edits, job_ids, journal, kept_environ,
outcome, records, recovery, usage, wrapped_command. Begin with `records`, then read `outcome`,
`recovery` and `server/server.py`.
"""
