"""Features of the kernel that Python's library lacks or leaves raw: one feature a file.

- No module here knows of jobs, GPUs or queues, or keeps state between two calls.
- What the kernel refuses is an `OSError`; what has ended meanwhile is None, not an error.
- Locks (`flock`, `ofd_lock`) end with the last process that has the descriptor.
- Processes are told apart by their number and their start time (`proc`): numbers are used again.
- All that the program prints goes through `fds`, which escapes what could control a terminal.

Begin with `fds` (writing and waiting) and `proc` (what /proc says of a process).
"""
