"""Commands of several users: only root can start them."""

from __future__ import annotations

import os

import pytest

needs_root = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="several users need root"),
]


def as_user(uid: int | None, command: list[str], group: int | None = None) -> list[str]:
    """The command as another user, who may read all files: Python may be root's."""
    if uid is None:
        return command
    reader = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    groups = "--clear-groups" if group is None else f"--groups={group}"
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", groups, *reader, *command]
