"""The machine's clocks."""

from __future__ import annotations

import time


class SystemClock:
    """Implements `pipe.ports.Clock`."""

    now_s = staticmethod(time.monotonic)
    wall_s = staticmethod(time.time)
