"""`sgs gpus`: the machine's GPUs, who has them, and which are free."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time

from simple_gpu_scheduler.allocation.gpu_status import read_gpu_status
from simple_gpu_scheduler.cli.parser import Parser
from simple_gpu_scheduler.system.fds import print_lines

DESCRIPTION = """\
Show the machine's GPUs, who has them, and which are free.

state of a GPU:
  free    nobody has a lease on it, and no foreign process uses it
  shared  a part of it is leased, and the rest is free
  leased  it is leased as a whole
  used    foreign processes (those without a lease) use it
  fault   it has failed

A GPU stays free if its foreign processes have less than 1 GiB together and keep it less than 10 %
busy. They are shown all the same. In a container the driver doesn't name the processes of others.
Memory that no named process has then counts as theirs, except for 1 GiB for the driver itself."""

EPILOG = """\
The first column has the ids that simple_gpu_scheduler --gpus and sgs lease --on take: numbers, and
the beginnings of the UUIDs of MIG slices. "-" means that the driver doesn't say. Memory is in MiB.

--json prints a list of objects with these keys. What isn't known is null.
  gpu, index, uuid, name, pci_bus_id   gpu: the id in the first column
  state, free, fault                   fault: what has failed
  memory_total_mib, memory_used_mib, utilisation_percent, temperature_c, power_w
  parent, compute_share    of a MIG slice: the UUID of its GPU, and its share of that GPU
  numa_node, links         links: [{uuid, nvlinks}]
  leases                   [{id, user, kind, pid, since_s, share, memory_mib}];
                           since_s: in seconds since 1970
  processes, strangers     [{pid, user, name, memory_mib}]; strangers: the foreign ones
  unnamed_mib              memory of foreign processes that the driver doesn't name

examples:
  sgs gpus
  sgs gpus --json | jq -r '.[] | select(.free) | .gpu'"""


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Read the command line of the subcommand."""
    parser = Parser(prog="sgs gpus", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument(
        "--json", action="store_true", help="print a list of JSON objects instead of a table"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Print the GPUs of the machine.

    Raises:
        SgsError: no driver answers.
    """
    from simple_gpu_scheduler.cli.gpus import table as gpus_report

    args = parse_args(sys.argv[1:] if argv is None else argv)
    gpus = read_gpu_status()
    if args.json:
        objects = ",\n ".join(json.dumps(gpu) for gpu in gpus_report.objects(gpus))
        print_lines(*f"[{objects}]".splitlines())
    else:
        print_lines(*gpus_report.table(gpus, time.time(), _terminal_columns()))
    return 0


def _terminal_columns() -> int | None:
    """Return the width of the terminal; None if stdout is none, as programs read whole names."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns
