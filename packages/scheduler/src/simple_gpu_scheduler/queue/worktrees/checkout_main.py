"""`python -m ...checkout_main FOLDER SNAPSHOT JOB`: make a job's copy of its work tree.

Prints the folder in it that the job is to run in, with a slash at its end (a shell drops newlines
there); exit status 1 if it can't be made.
"""

from __future__ import annotations

import os
import sys

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.queue.worktrees.checkout import checkout
from simple_gpu_scheduler.system.fds import print_stderr


def main() -> int:
    """Run as a process."""
    folder, snapshot, job = sys.argv[1:]
    try:
        cwd = checkout(folder, snapshot, int(job))
    except SgsError as error:
        print_stderr(f"sgs: error: {error}")
        return 1
    sys.stdout.buffer.write(os.fsencode(cwd) + b"/\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
