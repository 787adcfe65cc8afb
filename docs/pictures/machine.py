"""The fake machine of the pictures: four GPUs, with a process on each or none."""

from collections.abc import Sequence
from pathlib import Path

_CARD = """\
card GPU-{number}0000000-0000-0000-0000-000000000000
name NVIDIA H100 80GB HBM3
memory 81559 551
"""
_IN_USE = """\
utilisation {busy}
temperature {celsius}
process {pid} {mib}
"""
_BUSY, _CELSIUS, _MIB = (97, 91, 37, 88), (62, 58, 55, 57), (40400, 60700, 32000, 21100)


def write(state: Path, pids: Sequence[int | None]) -> None:
    """Describe the machine to the fake driver: the process on each GPU."""
    new = state.with_suffix(".new")
    new.write_text("".join(_card(number, pid) for number, pid in enumerate(pids)))
    new.replace(state)


def _card(number: int, pid: int | None) -> str:
    card = _CARD.format(number=number)
    if pid is None:
        return card
    facts = {"busy": _BUSY[number], "celsius": _CELSIUS[number], "mib": _MIB[number]}
    return card + _IN_USE.format(pid=pid, **facts)
