"""The decisions: which job starts on which GPUs, which one waits, and which one is stopped.

All of it is pure: no I/O, no clock, no randomness. The caller gives a `Snapshot` of the GPUs and
the jobs, with the time in it, and gets a `Plan`; the same snapshot gives the same plan. Pipe,
queue and simulation use the same code.

What holds: no plan gives a GPU more jobs than it has room for, and no job starves (`plan` and
`reservation` say why).

`model` has the records, `plan` the entry: begin there. `plan` calls `dispatch` for every order
but a plain queue. `placement` chooses GPUs, by `topology` and `fragmentation`. `termination` says
whom to stop, `outcome` what becomes of an ended job. `reasons` and `explain` word it for users.

Programs of version 0.2 may load one of these modules beside their own old ones. So public names
of `fit`, `orders`, `plan`, `reasons`, `reservation` and `topology` stay, and so do the fields of
`model` (`adapters/old_classes`).
"""
