"""The installed commands: simple_gpu_scheduler, simple_hypersearch and the subcommands of sgs.

A command reads its arguments, calls the domain folders, and prints what they return. It decides
nothing about jobs or GPUs. `sgs` finds the module of a subcommand in `COMMANDS` and calls its
`main(argv)`, which returns the exit status. A user's mistake is a `UsageError`, with status 2.
Any other `SgsError` has status 1.

- A command imports what it needs when it runs: `sgs --version` starts in a few milliseconds.
- All parsers are made by `parser.Parser`. The help of each option is a full phrase, because
  `completion` shows it too.
- stdout carries results only. Remarks and errors go to stderr.

First open `sgs`, then the module of a command.
"""
