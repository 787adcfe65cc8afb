"""A program of version 0.2 that runs on keeps its own classes in what it imports late.

It has jobs, starts and GPUs of the old modules. A new module that it loads must make and know
the same ones: an object of another class of the same name would be a stranger to both. Where a
module has stayed and a name in it has changed, the new modules find it by the new name.
"""

import importlib
import sys

_PACKAGE = "simple_gpu_scheduler"

#: Where a module is now, and where it was.
_MOVED = {"jobs.job": "job", "policy.model": "model", "gpus.records": "devices"}

#: Modules that have stayed: a name of today, and what it was called.
_RENAMED = {"policy.fit": {"with_capacity": "with_room"}}


def _keep_classes() -> None:
    for new, old in _MOVED.items():
        loaded = sys.modules.get(f"{_PACKAGE}.{old}")
        if loaded is not None:
            moved = importlib.import_module(f"{_PACKAGE}.{new}")
            vars(moved).update({name: vars(loaded)[name] for name in _shared(moved, loaded)})


def _shared(moved: object, loaded: object) -> set[str]:
    """The names that both have, without those of every module."""
    return {name for name in vars(moved).keys() & vars(loaded) if not name.startswith("__")}


def _keep_names() -> None:
    for name, renamed in _RENAMED.items():
        loaded = sys.modules.get(f"{_PACKAGE}.{name}")
        for new, old in renamed.items():
            if hasattr(loaded, old):
                setattr(loaded, new, getattr(loaded, old))


_keep_classes()
_keep_names()
