"""What `sgs submit` asks of the queue: a request for each command."""

from __future__ import annotations

import argparse
import os
from typing import NamedTuple

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.jobs.job import GPU_UNITS, MAX_JOBS_PER_GPU, Job, share_units
from simple_gpu_scheduler.jobs.validation import find_command_error
from simple_gpu_scheduler.queue.job_ids import job_ids
from simple_gpu_scheduler.queue.records import JobRequest
from simple_gpu_scheduler.units.durations import parse_duration_s
from simple_gpu_scheduler.units.sizes import parse_memory_mib

_LARGEST_ID = 2**63 - 1  #: of SQLite


class CommonRequest(NamedTuple):
    """What the options ask for, the same for each command."""

    job: Job  #: what the job needs, for directives to change
    request: JobRequest
    is_list: bool  #: the commands are a list, so each has a key of its own


def common_request(args: argparse.Namespace, *, is_list: bool, now_s: float) -> CommonRequest:
    """Check the values of the options.

    Raises:
        UsageError: a value is wrong; the message names its option.
    """
    auto = args.vram == "auto"
    memory_mib = None if auto or args.vram is None else parse_memory_mib(args.vram, "--vram")
    timeout_s = None if args.timeout is None else parse_duration_s(args.timeout, "--timeout")
    job = Job(
        1, b"", args.gpus, _units(args.jobs_per_gpu, memory_mib), timeout_s or None,
        args.retries, 1, memory_mib, auto_memory=auto,
    )  # fmt: skip
    if args.retry_failed and args.key is None:
        raise UsageError("--retry-failed needs --key K, the key of the job to run again")
    request = JobRequest(
        b"",
        priority=args.priority,
        after=_dependencies(args.after, "--after"),
        after_any=_dependencies(args.after_any, "--after-any"),
        not_before_s=None if args.start is None else args.start(now_s),
        name=_text(args.name, "--name"),
        group=_text(args.group, "--group"),
        key=None if args.key is None else _text(args.key, "--key"),
        held=args.hold,
        notify=None if args.notify is None else _shell_code(args.notify, "--notify"),
        retry_failed=args.retry_failed,
        requeue=args.requeue,
        kill_leftovers=args.kill_leftovers,
    )
    return CommonRequest(job, _with_job(request, job, args.priority), is_list)


def request_for(common: CommonRequest, command: bytes) -> JobRequest:
    """Return the request for a command, with the options that its directives set.

    Raises:
        UsageError: a directive is wrong.
    """
    key = common.request.key
    if key is not None and common.is_list:
        import hashlib

        key = f"{key}:{hashlib.sha256(command).hexdigest()[:16]}"
    request = common.request._replace(command=command, key=key)
    if b"#" not in command:
        return request
    # Few commands have a directive, and the module takes a while to load.
    from simple_gpu_scheduler.jobs.directives import apply_queue_directives

    return _with_job(
        request, *apply_queue_directives(common.job._replace(command=command), request.priority)
    )


def _with_job(request: JobRequest, job: Job, priority: int) -> JobRequest:
    return request._replace(
        gpus=job.gpus,
        units=job.units,
        memory_mib=job.memory_mib,
        auto_memory=job.auto_memory and job.memory_mib is None,
        priority=priority,
        timeout_s=job.timeout_s,
        tries=job.tries,
    )


def _units(jobs_per_gpu: int | None, memory_mib: int | None) -> int:
    if jobs_per_gpu is None:
        return GPU_UNITS if memory_mib is None else share_units(MAX_JOBS_PER_GPU)
    if not 1 <= jobs_per_gpu <= MAX_JOBS_PER_GPU:
        raise UsageError(f"--jobs-per-gpu {jobs_per_gpu}: expected 1 to {MAX_JOBS_PER_GPU}")
    return share_units(jobs_per_gpu)


def _dependencies(words: list[str], option: str) -> tuple[int, ...]:
    ids = tuple(job_ids(words))
    if ids and max(ids) > _LARGEST_ID:
        raise UsageError(
            f"{option} names job {max(ids)}, which does not exist; see sgs status --all"
        )
    return ids


def _text(value: str, what: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{what} {value!r}: expected text in UTF-8") from None
    return value


def _shell_code(value: str, what: str) -> bytes:
    code = os.fsencode(value)
    if not code.strip():
        raise UsageError(f"{what} {value!r}: expected a command")
    reason = find_command_error(code)
    if reason is not None:
        raise UsageError(f"{what}: the command {reason}")
    return code
