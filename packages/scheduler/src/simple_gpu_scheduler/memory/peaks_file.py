"""The file that keeps the GPU memory peaks of jobs from run to run, for `--vram auto`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from simple_gpu_scheduler.errors import SgsError
from simple_gpu_scheduler.files.folders import open_private
from simple_gpu_scheduler.files.state_dir import state_place
from simple_gpu_scheduler.files.trust import UnsafeError

#: The most templates that the file keeps; older ones are forgotten.
_MOST_TEMPLATES = 1000
_MOST_BYTES = 1 << 24
_UNREADABLE = (
    OSError, SgsError, ValueError, AttributeError, TypeError, OverflowError, RecursionError,
)  # fmt: skip


def peaks_path(environ: Mapping[str, str] = os.environ) -> str:
    """The path of the file, in the user's state directory."""
    return os.path.join(state_place(environ).path, "vram-peaks.json")


def read_peaks(path: str) -> dict[bytes, int]:
    """Peaks in MiB, by template; none if there is no file or its content is wrong."""
    try:
        folder, name = os.path.split(path)
        with open_private(folder, above=folder, make=False) as place:
            fields = json.loads(place.read(name, _MOST_BYTES))
        peaks_mib = {os.fsencode(key): int(mib) for key, mib in fields.items()}
    except _UNREADABLE:
        return {}
    return {key: mib for key, mib in peaks_mib.items() if mib >= 0}


def write_peaks(path: str, peaks_mib: Mapping[bytes, int]) -> None:
    """Replace the file at once. Larger peaks that other runs wrote meanwhile stay.

    Raises:
        SgsError: it can't be written.
    """
    merged = read_peaks(path)
    for key, mib in peaks_mib.items():
        merged[key] = max(mib, merged.pop(key, 0))
    newest = dict(list(merged.items())[-_MOST_TEMPLATES:])
    content = json.dumps({os.fsdecode(key): mib for key, mib in newest.items()}).encode()
    folder, name = os.path.split(path)
    try:
        with open_private(folder, above=folder) as place:
            place.write(name, content)
    except OSError as error:
        raise SgsError(f"{path} can't be written: {error.strerror}") from None
    except UnsafeError as error:
        raise SgsError(f"{path} can't be written: {error}") from None
