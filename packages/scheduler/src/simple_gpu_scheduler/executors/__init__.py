"""Runs the Python calls of `executor.GPUExecutor`, the public face, in worker processes on GPUs.

A pool has lanes. An awake lane is a thread with a worker process and a share of a leased GPU.

- A lane takes a call only when it has its GPU: no call waits for one GPU while another is free.
- A GPU is leased while at least one of its lanes is awake. A lane without work goes to sleep.
- A worker inherits its lease, so the lease ends with the last process that uses the GPU.
- The kernel kills a worker when the thread that started it ends: no worker outlives its program.

Begin with `pool`. `shared_gpu` leases the GPU that lanes share. `worker` starts and ends one
process; `worker_main` is what runs in it.
"""
