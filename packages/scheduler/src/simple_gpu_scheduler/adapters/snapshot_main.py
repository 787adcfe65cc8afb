"""Moved to `queue.worktrees.checkout_main`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("simple_gpu_scheduler.queue.worktrees.checkout_main", run_name="__main__")
