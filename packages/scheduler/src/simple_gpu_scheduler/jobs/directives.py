"""Job directives: what a command asks for, in a comment that no shell minds.

`python train.py --lr 0.1  # sgs: gpus=2 timeout=2h`, or `#SGS gpus=2` in a line of its own among
the comments at the head of a job of several lines. Both forms serve in both places: `sgs` in any
case, and a colon, or KEY=VALUE after a blank; without either it is a comment like any other.
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
_MAYBE = re.compile(_MARK, re.IGNORECASE)
_HEAD = re.compile(_DIRECTIVE, re.IGNORECASE)
_COMMENT = re.compile(rb"(?:^|(?<=[\s;&|()]))" + _DIRECTIVE, re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_NEWLINE, _DOUBLE, _HASH, _SINGLE, _BACKSLASH = b"\n\"#'\\"
_PRIORITY = re.compile(r"[-+]?\d{1,9}", re.ASCII)
_KNOWN = "gpus=N, jobs-per-gpu=K, vram=SIZE, timeout=DURATION, retries=N"
_KNOWN_TO_THE_QUEUE = f"{_KNOWN}, priority=P"


def apply_directives(job: Job) -> Job:
    """The job with what its own comment asks for.

    Raises:
        UsageError: a directive is unknown or has no sense.
    """
    for word in _words(job.command):
        _refuse_what_is_the_queues(word)
        job = _apply(job, word, _KNOWN)
    return job


def apply_queue_directives(job: Job, priority: int) -> tuple[Job, int]:
    """The same for a job of the durable queue, which has a priority as well.

    Raises:
        UsageError: a directive is unknown or has no sense.
    """
    for word in _words(job.command):
        if word.startswith("priority="):
            priority = parse_priority(word.removeprefix("priority="), "directive priority")
        elif word == "vram=auto":
            whole = GPU_UNITS if job.units == share_units(MAX_JOBS_PER_GPU) else job.units
            job = job._replace(memory_mib=None, auto_memory=True, units=whole)
        else:
            job = _apply(job, word, _KNOWN_TO_THE_QUEUE)
    return job, priority


def parse_priority(text: str, what: str) -> int:
    """Read a priority.

    Raises:
        UsageError: naming `what`, if it isn't a whole number of nine digits at most.
    """
    if not _PRIORITY.fullmatch(text):
        raise UsageError(f"{what} {text!r}: expected a whole number such as 5 or -5")
    return int(text)


def _refuse_what_is_the_queues(word: str) -> None:
    if word.startswith("priority="):
        raise UsageError(
            f"directive {word!r} is for the queue (sgs submit); here lines start in their order"
        )
    if word == "vram=auto":
        raise UsageError(
            f"directive {word!r} is for the queue (sgs submit); here it is the option --vram auto"
        )


def _words(command: bytes) -> Iterator[str]:
    """The KEY=VALUE words of a command's directives."""
    if b"#" in command and _MAYBE.search(command):
        for text in _directives(command):
            yield from text.decode(errors="replace").split()


def _directives(command: bytes) -> list[bytes]:
    found: list[bytes] = []
    for line in map(bytes.strip, command.split(b"\n")):
        if head := _HEAD.match(line):
            found.append(line[head.end() :])
        elif line and not line.startswith(b"#"):
            break
    for comment in _COMMENT.finditer(command):
        text = command[comment.end() :].rstrip()
        if b"\n" not in text and not _quoted(command[: comment.start()]):
            return [*found, text]
    return found


def _quoted(prefix: bytes) -> bool:
    """True if the shell would still be inside quotes at the end of this text."""
    until = 0  # the byte that ends what we are in: a quote, or the newline of a comment
    escaped = False
    before = b" "
    for byte in prefix:
        if escaped:
            escaped = False
        elif byte == _BACKSLASH and until not in (_SINGLE, _NEWLINE):
            escaped = True
        elif until:
            until = 0 if byte == until else until
        elif byte in (_SINGLE, _DOUBLE):
            until = byte
        elif byte == _HASH and before in b" \t\n;&|()":
            until = _NEWLINE
        before = bytes((byte,))
    return until in (_SINGLE, _DOUBLE) or escaped


def _apply(job: Job, word: str, known: str) -> Job:
    key, equals, value = word.partition("=")
    if not equals:
        raise UsageError(f"directive {word!r}: expected KEY=VALUE; known are {known}")
    if key == "timeout":
        return job._replace(timeout_s=parse_duration_s(value, "directive timeout") or None)
    if key == "gpus":
        return job._replace(gpus=_number(word, value, least=1))
    if key == "jobs-per-gpu":
        jobs_per_gpu = _number(word, value, least=1, most=MAX_JOBS_PER_GPU)
        return job._replace(units=share_units(jobs_per_gpu))
    if key == "vram":
        units = share_units(MAX_JOBS_PER_GPU) if job.units == GPU_UNITS else job.units
        memory_mib = parse_memory_mib(value, "directive vram")
        return job._replace(memory_mib=memory_mib, units=units)
    if key == "retries":
        return job._replace(tries=_number(word, value, least=0))
    raise UsageError(f"unknown directive {key!r}; known are {known}")


def _number(word: str, value: str, *, least: int, most: int = 10**9) -> int:
    if not _NUMBER.fullmatch(value) or not least <= int(value) <= most:
        raise UsageError(f"directive {word!r}: expected a whole number, {least} to {most}")
    return int(value)
