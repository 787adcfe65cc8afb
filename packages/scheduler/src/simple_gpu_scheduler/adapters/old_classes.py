"""A program of version 0.2 that runs on keeps its own classes in what it imports late.

It has jobs, starts and cards of the old modules. A new module that it loads must make and know
the same ones: an object of another class of the same name would be nobody's.
"""

import sys

#: Where a module is now, and where it was.
_MOVED = {"jobs.job": "job", "policy.model": "model", "gpus.records": "devices"}

for _new, _old in _MOVED.items():
    _loaded = sys.modules.get(f"simple_gpu_scheduler.{_old}")
    if _loaded is not None:
        sys.modules.setdefault(f"simple_gpu_scheduler.{_new}", _loaded)
