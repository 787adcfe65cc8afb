"""The GPU memory of jobs: how much they use, how much they will need, and when it was lacking.

While jobs run, `MemoryMonitor` asks the driver for their memory through the port `MemoryMeter`,
at the times that `polling` gives. The loop of pipe or queue calls it in one thread. When a job
ends, the monitor forgets the job and returns the most memory that it had. `MemoryEstimates` learns
from that how much the other jobs of a sweep need (`--vram auto`), and `peaks_file` keeps it for
later runs. The monitor also warns of jobs that use a GPU which they weren't given.

What holds: nothing here takes or ends a lease, and a driver that doesn't answer is no error.

`estimates`, `oom` and `polling` are pure. Begin with `monitor`.
"""
