"""Moved to `queue.server.main`."""

import runpy

if __name__ == "__main__":
    runpy.run_module("simple_gpu_scheduler.queue.server.main", run_name="__main__")
