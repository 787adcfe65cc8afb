"""Directives: comments in a command that set options of its job; the shell ignores them.

`python train.py --lr 0.1  # sgs: gpus=2 timeout=2h` is one. In a command of several lines, `#SGS
gpus=2` may also be a line of its own, among the comments at the beginning. Both forms may be used
in both places. A directive is `#` and `sgs` in any case, and then a colon, or a blank and
KEY=VALUE. Without these it is an ordinary comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.jobs.job import GPU_UNITS, MAX_JOBS_PER_GPU, Job, share_units
from simple_gpu_scheduler.units.durations import parse_duration_s
from simple_gpu_scheduler.units.sizes import parse_memory_mib

_MARK = rb"#[ \t]*sgs"
_DIRECTIVE = _MARK + rb"(?:[ \t]*:|[ \t]+(?=[\w-]+=))"
_MARK_ANYWHERE = re.compile(_MARK, re.IGNORECASE)
_HEAD = re.compile(_DIRECTIVE, re.IGNORECASE)
_COMMENT = re.compile(rb"(?:^|(?<=[\s;&|()]))" + _DIRECTIVE, re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_NEWLINE, _DOUBLE, _HASH, _SINGLE, _BACKSLASH = b"\n\"#'\\"
_PRIORITY = re.compile(r"[-+]?\d{1,9}", re.ASCII)
_KEYS = "gpus=N, jobs-per-gpu=K, vram=SIZE, timeout=DURATION, retries=N"
_QUEUE_KEYS = f"{_KEYS}, priority=P"


def apply_directives(job: Job) -> Job:
    """Return the job with the options that its directives set.

    Raises:
        UsageError: A directive is unknown, or has a wrong value.
    """
    for directive in _find_directives(job.command):
        _refuse_queue_directive(directive)
        job = _apply(job, directive, _KEYS)
    return job


def apply_queue_directives(job: Job, priority: int) -> tuple[Job, int]:
    """Return a job of the queue, and its priority, with the options that its directives set.

    Raises:
        UsageError: A directive is unknown, or has a wrong value.
    """
    for directive in _find_directives(job.command):
        if directive.startswith("priority="):
            priority = parse_priority(directive.removeprefix("priority="), "directive priority")
        elif directive == "vram=auto":
            units = GPU_UNITS if job.units == share_units(MAX_JOBS_PER_GPU) else job.units
            job = job._replace(memory_mib=None, auto_memory=True, units=units)
        else:
            job = _apply(job, directive, _QUEUE_KEYS)
    return job, priority


def parse_priority(text: str, what: str) -> int:
    """Read a priority.

    Args:
        text: What the user wrote.
        what: The option, for the message.

    Raises:
        UsageError: It isn't a whole number of nine digits at most.
    """
    if not _PRIORITY.fullmatch(text):
        raise UsageError(f"{what} {text!r}: expected a whole number such as 5 or -5")
    return int(text)


def _refuse_queue_directive(directive: str) -> None:
    if directive.startswith("priority="):
        raise UsageError(
            f"directive {directive!r} is for the queue (sgs submit); "
            "here lines start in their order"
        )
    if directive == "vram=auto":
        raise UsageError(
            f"directive {directive!r} is for the queue (sgs submit); "
            "here it is the option --vram auto"
        )


def _find_directives(command: bytes) -> Iterator[str]:
    """The directives of a command, each KEY=VALUE."""
    if b"#" in command and _MARK_ANYWHERE.search(command):
        for text in _find_comments(command):
            yield from text.decode(errors="replace").split()


def _find_comments(command: bytes) -> list[bytes]:
    """What follows `# sgs:` in each comment: in lines at the beginning, and at the end."""
    comments: list[bytes] = []
    for line in map(bytes.strip, command.split(b"\n")):
        if head := _HEAD.match(line):
            comments.append(line[head.end() :])
        elif line and not line.startswith(b"#"):
            break
    for comment in _COMMENT.finditer(command):
        text = command[comment.end() :].rstrip()
        if b"\n" not in text and not _is_quoted(command[: comment.start()]):
            return [*comments, text]
    return comments


def _is_quoted(prefix: bytes) -> bool:
    """True if the shell would still be inside quotes at the end of this text."""
    end = 0  # the byte that ends the current quote or comment; 0: in neither
    escaped = False
    previous = b" "
    for byte in prefix:
        if escaped:
            escaped = False
        elif byte == _BACKSLASH and end not in (_SINGLE, _NEWLINE):
            escaped = True
        elif end:
            end = 0 if byte == end else end
        elif byte in (_SINGLE, _DOUBLE):
            end = byte
        elif byte == _HASH and previous in b" \t\n;&|()":
            end = _NEWLINE
        previous = bytes((byte,))
    return end in (_SINGLE, _DOUBLE) or escaped


def _apply(job: Job, directive: str, keys: str) -> Job:
    """Set the option of a directive; `keys` are those that are known, for the message."""
    key, equals, value = directive.partition("=")
    if not equals:
        raise UsageError(f"directive {directive!r}: expected KEY=VALUE; known are {keys}")
    if key == "timeout":
        return job._replace(timeout_s=parse_duration_s(value, "directive timeout") or None)
    if key == "gpus":
        return job._replace(gpus=_parse_number(directive, value, least=1))
    if key == "jobs-per-gpu":
        jobs_per_gpu = _parse_number(directive, value, least=1, most=MAX_JOBS_PER_GPU)
        return job._replace(units=share_units(jobs_per_gpu))
    if key == "vram":
        units = share_units(MAX_JOBS_PER_GPU) if job.units == GPU_UNITS else job.units
        memory_mib = parse_memory_mib(value, "directive vram")
        return job._replace(memory_mib=memory_mib, units=units)
    if key == "retries":
        return job._replace(tries=_parse_number(directive, value, least=0))
    raise UsageError(f"unknown directive {key!r}; known are {keys}")


def _parse_number(directive: str, value: str, *, least: int, most: int = 10**9) -> int:
    if not _NUMBER.fullmatch(value) or not least <= int(value) <= most:
        raise UsageError(f"directive {directive!r}: expected a whole number, {least} to {most}")
    return int(value)
