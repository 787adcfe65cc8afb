"""`sgs gpus`: the machine's GPUs, who has them, and which are free."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from typing import TYPE_CHECKING

from simple_gpu_scheduler.allocation.gpu_status import read_gpu_status
from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.system.fds import print_lines

if TYPE_CHECKING:
    pass

DESCRIPTION = """\
Show the machine's GPUs, who has them, and which are free.

A GPU is: free; shared (a part of it is leased, the rest is free); leased; used (by processes that
have no lease of it); or at fault. Processes without a lease that have less than 1 GiB together,
on a GPU that is less than 10 % busy, leave it free; they are shown anyway. In a container the
driver names no processes of others: what is in use beyond 1 GiB that the driver may need itself is
somebody's, too."""

EPILOG = """\
Names in the first column, numbers and the beginnings of UUIDs of MIG slices, are those that --gpus
of the other commands takes. "-": the driver doesn't say. Memory is in MiB.

--json prints a list of objects: gpu (that name), index, uuid, name, pci_bus_id, state, free,
fault, memory_total_mib, memory_used_mib, utilisation_percent, temperature_c, power_w, parent (UUID
of a slice's card), compute_share (of the card, for a slice), numa_node, links ([{uuid, nvlinks}]),
leases ([{id, user, kind, pid, since_s, share, memory_mib}], since_s in seconds since 1970),
processes and, of these, strangers ([{pid, user, name, memory_mib}]), unnamed_mib (of strangers
whom the driver doesn't name). What isn't known is null.

examples:
  sgs gpus
  sgs gpus --json | jq -r '.[] | select(.free) | .gpu'"""


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Read the command line of the subcommand."""
    parser = Parser(
        prog="sgs gpus",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print a list of objects instead")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Print the GPUs of the machine.

    Raises:
        SgsError: no driver answers.
    """
    from simple_gpu_scheduler.cli.gpus import table as gpus_report

    args = parse_args(sys.argv[1:] if argv is None else argv)
    found = read_gpu_status()
    if args.json:
        objects = ",\n ".join(json.dumps(one) for one in gpus_report.objects(found))
        print_lines(*f"[{objects}]".splitlines())
    else:
        print_lines(*gpus_report.table(found, time.time(), _terminal_columns()))
    return 0


def _terminal_columns() -> int | None:
    """None where stdout is no terminal: what reads it wants whole names."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns
