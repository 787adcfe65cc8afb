"""Who may have which GPU now: what leases, waiters and foreign processes leave of each.

`opening` makes an `Availability` for the GPUs that a user selected: our GPUs, less what others
have of them. It reads the leases (`leases/`) and asks a `GpuMonitor` for what the driver reports:
memory, foreign processes and faults. The policy plans on it. `Allocator` then takes the leases
that a plan needs, and gives them back; it writes only through the `LeaseStore`. Where others are
in the way, it adds a ticket and offers `wake_fd`, which is readable once their leases change.

What holds: a lease is added only within `LeaseStore.allocating`, after all leases were read
there, and stays only if `confirm` or a second reading shows that it fits.

`capacity`, `holders` and `occupancy` are pure. `preview` and `gpu_status` only look. Begin with
`allocator`.
"""
