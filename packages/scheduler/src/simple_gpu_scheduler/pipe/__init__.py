"""Runs the commands that come on stdin as jobs on the GPUs: `commands | simple_gpu_scheduler`.

- The loop reads a few lines, asks `policy` for a plan, applies it, and sleeps in one system call.
- It alone calls the ports: `intake` reads the lines, the runner starts jobs, `Leases` holds GPUs.
- A job has a lease before it starts, and keeps it until its last process is gone.
- What happens is an event. Listeners (console, joblog, progress bar) write events at once.
- If a listener or the input fails, no more jobs start, so that no result is lost.
- Each line is counted once: succeeded, failed, skipped or aborted. The exit status follows.

Begin with `loop`, then `attempts` (how jobs end). `exit_status`, `start_pause`, `halt` and
`shutdown` decide without effects. `ports` lists what the loop needs; `testing.pipe` has a fake for
each port.
"""
