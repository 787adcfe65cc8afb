"""What jobs needed of GPU memory, kept from run to run for `--vram auto`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from simple_gpu_scheduler.adapters.state_dir import state_dir
from simple_gpu_scheduler.errors import SgsError

#: More are forgotten, the oldest first.
_MOST = 1000


def peaks_path(environ: Mapping[str, str] = os.environ) -> str:
    """The file in the user's state directory."""
    return os.path.join(state_dir(environ), "vram-peaks.json")


def read_peaks(path: str) -> dict[bytes, int]:
    """Peaks in MiB by template; none where there is no file, or one that can't be understood."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        peaks_mib = {os.fsencode(key): int(mib) for key, mib in found.items()}
    except (OSError, ValueError, AttributeError, TypeError, OverflowError, RecursionError):
        return {}
    return {key: mib for key, mib in peaks_mib.items() if mib >= 0}


def write_peaks(path: str, peaks_mib: Mapping[bytes, int]) -> None:
    """Replace the file at once; what other runs have put there meanwhile stays, if it is larger.

    Raises:
        SgsError: it can't be written.
    """
    merged = read_peaks(path)
    for key, mib in peaks_mib.items():
        merged[key] = max(mib, merged.pop(key, 0))
    last = dict(list(merged.items())[-_MOST:])
    new = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(new, "w", encoding="utf-8", opener=_for_us_alone) as file:
            json.dump({os.fsdecode(key): mib for key, mib in last.items()}, file)
        os.replace(new, path)
    except OSError as error:
        raise SgsError(f"{path} can't be written: {error.strerror}") from None


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
