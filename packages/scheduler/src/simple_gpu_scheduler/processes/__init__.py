"""Starts jobs as processes, waits for them, and ends them with their whole process tree.

- A job is its first process and everything that descends from it, also outside its session.
- Each job has a session of its own and carries a mark in its environment: SGS_RUN and SGS_SEQ.
- Numbers of processes are used again. So a process is a number and its start time, and is checked
  (by pidfd where the kernel has it) before it gets a signal.
- TERM goes to the whole tree. KILL is sent again until no new process turns up.
- Signals to this program stay blocked except while it sleeps, so that none is lost.

Begin with `runner`, then `tree`. `membership` decides who belongs to a job, without effects.
`subreaper` finds out where orphans go. `stderr_relay` keeps the last output of jobs.
"""
