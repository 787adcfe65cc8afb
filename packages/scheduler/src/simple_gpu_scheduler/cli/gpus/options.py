"""Options about GPUs that several commands take: placement, and which GPUs count as free."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from simple_gpu_scheduler.cli.parser import whole
from simple_gpu_scheduler.jobs.job import MAX_JOBS_PER_GPU
from simple_gpu_scheduler.policy.orders import PACKING_ORDER
from simple_gpu_scheduler.units.sizes import parse_memory_mib


def vram_mib(text: str | None) -> int | None:
    """What a job asks for; None: whole GPUs."""
    return None if text in (None, "auto") else parse_memory_mib(text, "--vram")


def jobs_per_gpu(args: argparse.Namespace) -> int:
    """Jobs that say how much memory they need share a GPU as far as that goes."""
    if args.jobs_per_gpu is None:
        return 1 if args.vram in (None, "auto") else MAX_JOBS_PER_GPU
    return int(args.jobs_per_gpu)


def order_name(args: argparse.Namespace) -> str:
    """One of `policy.orders.ORDERS`."""
    return "fifo" if args.vram is None else PACKING_ORDER


def idle_limits(args: argparse.Namespace) -> dict[str, int]:
    """What strangers may have on a GPU that is yet taken, see `GpuMonitor`."""
    return {
        "idle_memory_mib": parse_memory_mib(args.idle_memory, "--idle-memory"),
        "idle_utilisation_percent": args.idle_utilisation,
    }


def add_placement_options(group: argparse._ArgumentGroup) -> None:
    """Which GPUs a job gets, and how many are left alone."""
    group.add_argument(
        "--jobs-per-gpu",
        type=whole(1, MAX_JOBS_PER_GPU),
        metavar="K",
        help="jobs on one GPU (default 1)",
    )
    group.add_argument(
        "--vram",
        metavar="SIZE",
        help="memory that a job needs on each of its GPUs, such as 10G: jobs share a GPU as long "
        "as there is so much free; auto: find it out from the first jobs of a sweep",
    )
    group.add_argument(
        "--keep-free",
        type=whole(0, 4096),
        default=0,
        metavar="N",
        help="take no GPU if that would leave others fewer than N free ones",
    )
    either = group.add_mutually_exclusive_group()
    either.add_argument(
        "--pack",
        dest="placement",
        action="store_const",
        const="pack",
        default="default",
        help="fill GPUs that have jobs already before empty ones",
    )
    either.add_argument(
        "--spread",
        dest="placement",
        action="store_const",
        const="spread",
        help="prefer the emptiest GPUs",
    )


def add_idle_options(group: argparse._ArgumentGroup) -> None:
    """What others may have on a GPU that is taken yet."""
    group.add_argument(
        "--idle-memory",
        default="1G",
        metavar="SIZE",
        help="without --gpus: GPUs are not taken where processes without a lease have so much "
        "memory (default 1G)",
    )
    group.add_argument(
        "--idle-utilisation",
        type=whole(0, 101),
        default=10,
        metavar="PERCENT",
        help="or where they keep the GPU so busy (default 10)",
    )


#: Options whose value may look like a negative number, if only by mistake.
_TAKE_A_VALUE = (
    *("--gpus-per-job", "--jobs-per-gpu", "--vram", "--keep-free", "--idle-memory"),
    *("--idle-utilisation", "--retries", "--timeout", "--grace", "--delay", "--halt"),
)


def joined(argv: Sequence[str]) -> list[str]:
    """With `--timeout -1` as `--timeout=-1`: to argparse, -1 is an option, as -0 is."""
    words: list[str] = []
    for word in argv:
        negative = word[:1] == "-" and (word[1:2].isdecimal() or word[1:2] == ".")
        if negative and words and words[-1] in _TAKE_A_VALUE:
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words
