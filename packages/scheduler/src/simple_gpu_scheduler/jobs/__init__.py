"""A job, and what is read from its command or script: how many GPUs, how much memory, how long.

- A `Job` is a record that never changes; what asks for something else is another `Job`.
- Commands are bytes from the input to the shell. They are decoded only to be shown.
- A directive in the command wins over an option for all commands.
- A share of a GPU is a whole number of units (`GPU_UNITS`), so that shares add up exactly.
- All modules are pure. What can't be read is a `UsageError`, before anything is started.

Begin with `job`, then `directives` (comments in commands) and `script_header` (#SGS lines).
"""
