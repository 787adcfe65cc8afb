"""Options about GPUs that several commands share: placement, and which GPUs count as free."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from simple_gpu_scheduler.cli.parser import whole
from simple_gpu_scheduler.jobs.job import MAX_JOBS_PER_GPU
from simple_gpu_scheduler.policy.orders import PACKING_ORDER
from simple_gpu_scheduler.units.sizes import parse_memory_mib


def vram_mib(text: str | None) -> int | None:
    """Return the memory that a job asks for on each GPU, in MiB; None: whole GPUs."""
    return None if text in (None, "auto") else parse_memory_mib(text, "--vram")


def jobs_per_gpu(args: argparse.Namespace) -> int:
    """Return how many jobs may share a GPU. With --vram, only its memory limits them."""
    if args.jobs_per_gpu is None:
        return 1 if args.vram in (None, "auto") else MAX_JOBS_PER_GPU
    return int(args.jobs_per_gpu)


def order_name(args: argparse.Namespace) -> str:
    """Return the name of an order in `policy.orders.ORDERS`."""
    return "fifo" if args.vram is None else PACKING_ORDER


def idle_limits(args: argparse.Namespace) -> dict[str, int]:
    """Return how much foreign processes may use of a GPU that jobs may take, for `GpuMonitor`."""
    return {
        "idle_memory_mib": parse_memory_mib(args.idle_memory, "--idle-memory"),
        "idle_utilisation_percent": args.idle_utilisation,
    }


def add_placement_options(group: argparse._ArgumentGroup) -> None:
    """Add options for which GPUs a job gets, and how many are left to others."""
    group.add_argument(
        "--jobs-per-gpu",
        type=whole(1, MAX_JOBS_PER_GPU),
        metavar="K",
        help="number of jobs that share one GPU (default 1; with --vram as many as fit)",
    )
    group.add_argument(
        "--vram",
        metavar="SIZE",
        help="GPU memory that a job needs on each of its GPUs, such as 10G: jobs share a GPU as "
        "long as that much is free (default: whole GPUs); auto: measure the first jobs of a sweep",
    )
    group.add_argument(
        "--keep-free",
        type=whole(0, 4096),
        default=0,
        metavar="N",
        help="number of free GPUs to leave to others (default 0)",
    )
    either = group.add_mutually_exclusive_group()
    either.add_argument(
        "--pack",
        dest="placement",
        action="store_const",
        const="pack",
        default="default",
        help="give jobs GPUs in use first (default: the emptiest; jobs with --vram go where they "
        "leave the most useful rest)",
    )
    either.add_argument(
        "--spread",
        dest="placement",
        action="store_const",
        const="spread",
        help="give jobs the emptiest GPUs first (the default without --vram)",
    )


def add_idle_options(group: argparse._ArgumentGroup, naming: str) -> None:
    """Add the limits below which foreign processes leave a GPU free.

    Args:
        naming: the option that names GPUs. They are used whatever foreign processes do there.
    """
    group.add_argument(
        "--idle-memory",
        default="1G",
        metavar="SIZE",
        help=f"without {naming}: use no GPU on which foreign processes (those without a lease) "
        "have this much memory or more (default 1G)",
    )
    group.add_argument(
        "--idle-utilisation",
        type=whole(0, 101),
        default=10,
        metavar="PERCENT",
        help=f"without {naming}: use no GPU that foreign processes keep busy for this percentage "
        "of the time or more (default 10)",
    )


#: Options whose value may look like a negative number, by mistake.
_TAKE_A_VALUE = (
    *("--gpus-per-job", "--jobs-per-gpu", "--vram", "--keep-free", "--idle-memory"),
    *("--idle-utilisation", "--retries", "--timeout", "--grace", "--delay", "--halt"),
)


def join_negative_values(argv: Sequence[str]) -> list[str]:
    """Write `--timeout -1` as `--timeout=-1`, as argparse takes -1 for an option.

    So the error names the wrong value, and not an unknown option.
    """
    words: list[str] = []
    for word in argv:
        negative = word[:1] == "-" and (word[1:2].isdecimal() or word[1:2] == ".")
        if negative and words and words[-1] in _TAKE_A_VALUE:
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words
