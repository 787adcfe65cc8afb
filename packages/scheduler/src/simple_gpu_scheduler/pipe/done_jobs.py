"""The jobs that an earlier run has done, in a few bytes each."""

from __future__ import annotations

import zlib
from array import array

_PAGE = 1024
_UNKNOWN, _SUCCEEDED, _FAILED = range(3)


class DoneJobs:
    """The jobs of a job log; implements `pipe.ports.Done`."""

    def __init__(self, *, rerun_failed: bool = False) -> None:
        self._rerun_failed = rerun_failed
        self._pages: dict[int, tuple[bytearray, array[int]]] = {}

    def __contains__(self, seq: object) -> bool:
        """True if the job needn't run again."""
        if not self._pages or not isinstance(seq, int) or seq // _PAGE not in self._pages:
            return False
        state = self._pages[seq // _PAGE][0][seq % _PAGE]
        return state == _SUCCEEDED or (state == _FAILED and not self._rerun_failed)

    def is_same(self, seq: int, command: bytes) -> bool:
        """True if the log has the same command for the job."""
        return self._pages[seq // _PAGE][1][seq % _PAGE] == _checksum(command)

    def add(self, seq: int, command: bytes, *, ok: bool) -> None:
        """Add a row; the last row of a job counts."""
        page = self._pages.get(seq // _PAGE)
        if page is None:
            page = bytearray(_PAGE), array("I", bytes(4 * _PAGE))
            self._pages[seq // _PAGE] = page
        page[0][seq % _PAGE] = _SUCCEEDED if ok else _FAILED
        page[1][seq % _PAGE] = _checksum(command)


def _checksum(command: bytes) -> int:
    return zlib.crc32(command.replace(b"\n", b"\0"))
