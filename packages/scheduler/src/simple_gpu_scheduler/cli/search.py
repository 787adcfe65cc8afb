"""simple_hypersearch: print the commands of a hyperparameter search, one per line."""

from __future__ import annotations

import errno
import os
import sys

from simple_gpu_scheduler.errors import SgsError, UsageError
from simple_gpu_scheduler.search.arguments import parse
from simple_gpu_scheduler.text.printable import printable_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PROGRAM = "simple_hypersearch"
BROKEN_PIPE_STATUS = 128 + 13
INTERRUPTED_STATUS = 128 + 2
BLOCK_SIZE = 2**16
LONGEST_WAIT = 0.1  # seconds that a finished line may wait for others

HELP = """\
usage: simple_hypersearch COMMAND -p NAME VALUE... [-p NAME VALUE...]... [options]

Print COMMAND once for each combination of the values, with {NAME} replaced by the value.

  -p, --parameter NAME VALUE...  values of a parameter, or one distribution:
                           uniform:LOW:HIGH[:STEP]   loguniform:LOW:HIGH[:FACTOR]
                           int:LOW:HIGH[:STEP]       logint:LOW:HIGH[:FACTOR]
                           normal:MEAN:SD
                           (to use int:1:9 as plain text, write =int:1:9)
  --sampling-mode MODE     order of the commands: shuffled_grid (default), grid (the last -p
                           varies fastest), random (default if a distribution has no step)
                           or sobol
  --n-samples N            print at most N commands (default: all); random and sobol need it
  --seed S                 whole number that makes the order and the draws repeatable
                           (default: they differ in each run)
  --link NAME NAME...      vary these parameters together: first values, second values, ...
  --exclude EXPR           leave out combinations for which EXPR is true;
                           may be given several times
  --name, --name=PREFIX    set {name} to a run name such as lr=0.1_bs=32, or PREFIX_lr=0.1_bs=32
  --quote                  quote every value for the shell (default: insert it as it is)
  -0, --null               end each command by NUL instead of a newline
  --count                  print only the number of commands
  --version                print the version and exit
  -h, --help               print this help and exit

{i} is the number of the command, from 0. Write {{ and }} for literal braces.

examples:
  simple_hypersearch "python3 train.py --lr {lr} --bs {bs}" -p lr 0.001 0.0005 -p bs 32 64
  simple_hypersearch "train.py --lr {lr}" -p lr loguniform:1e-5:1e-1 --n-samples 20 --seed 1
  simple_hypersearch "train.py --lr {lr} --out {name}" -p lr 0.1 0.01 --name=first
  simple_hypersearch "train.py -d {depth} -w {width}" -p depth int:2:8:2 -p width 64 1024 \\
      --exclude "depth > 4 and width == 1024"
"""


def main(argv: list[str] | None = None) -> int:
    """Print the commands for a command line; return the exit status."""
    try:
        _run(sys.argv[1:] if argv is None else argv)
    except UsageError as error:
        return _fail(2, str(error))
    except SgsError as error:
        return _fail(1, str(error))
    except BrokenPipeError:  # the reader has enough, as with | head
        return BROKEN_PIPE_STATUS
    except OSError as error:
        return _fail(1, f"can't write the commands: {error.strerror or error}")
    except KeyboardInterrupt:
        return INTERRUPTED_STATUS
    return 0


def _run(argv: list[str]) -> None:
    options = parse(argv)
    output = Output()
    if options.has("--help"):
        output.write([HELP])
    elif options.has("--version"):
        from simple_gpu_scheduler import __version__

        output.write([f"{PROGRAM} {__version__}\n"])
    else:
        from simple_gpu_scheduler.search.commands import Search

        search = Search(options)
        output.write([f"{search.count()}\n"] if options.has("--count") else search.blocks())


class Output:
    """Standard output as a file descriptor: Python's buffer could lose text, or write it twice."""

    def __init__(self) -> None:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "standard output is closed")
        sys.stdout.flush()
        self.descriptor = sys.stdout.fileno()
        self.is_terminal = os.isatty(self.descriptor)

    def write(self, blocks: Iterable[str]) -> None:
        """Write the first block at once. Gather the others, for `LONGEST_WAIT` at most.

        Raises:
            OSError: standard output can't be written.
            SgsError: from `blocks`; what came before is written.
        """
        from time import monotonic

        waiting: list[str] = []
        size, written = BLOCK_SIZE, 0.0
        try:
            for block in blocks:
                waiting.append(block)
                size += len(block)
                if size >= BLOCK_SIZE or monotonic() - written > LONGEST_WAIT:
                    self._send("".join(waiting))
                    waiting, size, written = [], 0, monotonic()
        except SgsError:
            self._send("".join(waiting))
            raise
        self._send("".join(waiting))

    def _send(self, text: str) -> None:
        left = memoryview(os.fsencode(printable_lines(text) if self.is_terminal else text))
        while left:
            left = left[self._sent(left) :]

    def _sent(self, data: memoryview) -> int:
        """Write what fits; wait for room where the reader made the pipe non-blocking."""
        try:
            return os.write(self.descriptor, data)
        except BlockingIOError:
            from select import select

            select([], [self.descriptor], [])
            return 0


def _fail(status: int, message: str) -> int:
    from simple_gpu_scheduler.system.fds import print_stderr

    print_stderr(f"{PROGRAM}: error: {message}")
    return status
