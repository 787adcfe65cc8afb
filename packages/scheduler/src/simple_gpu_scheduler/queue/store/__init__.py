"""The queue's file: an SQLite database, in which an accepted job outlives any crash.

Submitters and the server open the file each in a process of their own. Every change is one
transaction; SQLite's lock admits one writer at a time. A submitter's change is on the disk when it
returns. The server opens the file lazily, and calls `sync` shortly after it has written.

Tables: jobs, attempts, needs (dependencies), contexts (working directory and environment),
settings. The state of a job changes only here. `blockers` is the number of open jobs that a job
waits for; whatever ends a job or queues it again keeps that number right.

Begin with `jobs`. `database` opens the file, `schema` creates the tables and upgrades old ones.
"""
