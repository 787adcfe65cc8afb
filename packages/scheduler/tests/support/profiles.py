"""How many examples property tests try.

HYPOTHESIS_PROFILE names the profile: `quick` (the default) is for the editor; `make test` takes
`thorough`. A test that needs more or fewer than others says how many times as many.
"""

from __future__ import annotations

from hypothesis import settings


def examples(times: float) -> int:
    """So many times the examples of the profile, and at least one."""
    return max(1, round(times * settings.default.max_examples))
