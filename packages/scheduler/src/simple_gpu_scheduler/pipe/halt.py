"""When a run ends early: GNU parallel's `--halt WHEN,WHY`."""

from __future__ import annotations

import re
from typing import NamedTuple

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.pipe.events import Counts

_OLD_FORMS = {
    "0": "never",
    "1": "soon,fail=1",
    "2": "now,fail=1",
    "-1": "soon,success=1",
    "-2": "now,success=1",
}


class Halt(NamedTuple):
    """A rule that ends a run early."""

    when: str  #: soon (let running jobs finish) or now (end them)
    why: str  #: fail, success or done
    limit: float  #: a number of jobs, or a percentage
    percent: bool = False  #: True if `limit` is a percentage of the jobs in the input

    def __str__(self) -> str:
        return f"{self.when},{self.why}={self.limit:g}{'%' if self.percent else ''}"


def parse_halt(text: str) -> Halt | None:
    """Read `never`, `soon,fail=3`, `now,success=1`, `soon,done=50%` or GNU's old numbers.

    Raises:
        UsageError: The text is none of these.
    """
    form = _OLD_FORMS.get(text, text)
    if form.endswith("%") and "," not in form:
        form = f"soon,fail={form}"
    if form == "never":
        return None
    when, _, why_limit = form.partition(",")
    why, _, limit = why_limit.partition("=")
    number = limit.removesuffix("%")
    if when not in ("soon", "now") or why not in ("fail", "success", "done"):
        raise _usage_error(text)
    if not re.fullmatch(r"\d{1,9}", number, re.ASCII) or int(number) < 1:
        raise _usage_error(text)
    return Halt(when, why, int(number), limit.endswith("%"))


def _usage_error(text: str) -> UsageError:
    return UsageError(
        f"--halt {text!r}: expected never, or soon or now with fail=N, success=N, done=N "
        "(or N%), such as soon,fail=1 or now,fail=10%"
    )


def is_reached(halt: Halt, counts: Counts, known: int) -> bool:
    """True once the limit is reached.

    Args:
        halt: The rule.
        counts: How many jobs came to which end.
        known: The number of jobs in the input as far as it was read; a percentage is of these.
    """
    count = {"fail": counts.failed, "success": counts.succeeded, "done": counts.done}[halt.why]
    if halt.percent:
        return count > 0 and 100 * count >= halt.limit * known
    return count >= halt.limit
