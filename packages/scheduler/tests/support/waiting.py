"""Waiting for what must come: by looking, with a bound, and never by sleeping for luck."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

#: How long a test waits for what must happen. Nothing takes that long, even on a busy machine.
BOUND_S = float(os.environ.get("TESTS_BOUND_S", "60"))


def wait_until(seen: Callable[[], Any], what: str | Callable[[], str]) -> Any:
    """Look until `seen()` is true, and return its value. Fails after a generous bound."""
    until_s = time.monotonic() + BOUND_S
    while not (value := seen()):
        if time.monotonic() > until_s:
            raise AssertionError(f"never happened: {what if isinstance(what, str) else what()}")
        time.sleep(0.005)
    return value
