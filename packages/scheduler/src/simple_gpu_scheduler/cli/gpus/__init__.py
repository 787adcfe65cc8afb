"""The subcommands of `sgs` for GPUs: gpus, lease and explain.

- `gpus` and `explain` only look: they take no lease and join no line of waiters.
- `lease` takes a lease and then becomes the user's command, with the same pid. The command and its
  child processes inherit the locked file, so the lease ends with the last of them.
- `table` and `verdicts` are pure. `options` has the options that several commands share.

First open `gpus`.
"""
