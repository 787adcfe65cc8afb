"""Which vendor's driver the machine has, by a few paths: to open a driver takes time.

NVIDIA's driver goes first. `selection` and `environ` ask here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_NVIDIA_FILES, _NVIDIA_LIBRARY = ("/dev/nvidiactl", "/dev/dxg"), "libnvidia-ml.so.1"

#: The device file of AMD's driver for computing (amdkfd), and amdsmi's library.
_AMD_FILES, _AMD_LIBRARY = ("/dev/kfd",), "libamd_smi.so"


def is_nvidia_machine(environ: Mapping[str, str] = os.environ) -> bool:
    """True if there may be an NVIDIA driver."""
    return _is_present(_NVIDIA_FILES, _NVIDIA_LIBRARY, environ)


def is_amd_machine(environ: Mapping[str, str] = os.environ) -> bool:
    """True if AMD's driver is there and NVIDIA's isn't."""
    return _is_present(_AMD_FILES, _AMD_LIBRARY, environ) and not is_nvidia_machine(environ)


def _is_present(files: tuple[str, ...], library: str, environ: Mapping[str, str]) -> bool:
    """True if a file is there, or the library in LD_LIBRARY_PATH: a container may bring it so."""
    folders = filter(None, environ.get("LD_LIBRARY_PATH", "").split(":"))
    paths = (*files, *(os.path.join(folder, library) for folder in folders))
    return any(map(os.path.exists, paths))
