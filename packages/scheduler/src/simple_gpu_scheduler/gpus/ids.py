"""GPU ids as users write them: free strings, checked for what can't be right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.gpus.records import named


class GpuName(NamedTuple):
    """The two names of one card (or MIG slice)."""

    number: str  #: nvidia-smi's number, or HIP's; empty for a MIG slice
    uuid: str  #: empty: the card was lost before it could be asked
    card: str = ""  #: of a MIG slice: the number of the card that it is a part of


def parse_gpu_ids(words: Iterable[str]) -> tuple[str, ...]:
    """Ids in the order given, from `0 1 2`, `0,1,2` or a mixture.

    Raises:
        UsageError: there is none, or one is empty or named twice.
    """
    ids = [part.strip() for word in words for part in word.split(",")]
    if not any(ids):
        raise UsageError("--gpus names no GPU; expected ids such as --gpus 0,1,2")
    if not all(ids):
        raise UsageError(f"--gpus has an empty id in {','.join(ids)!r}; expected such as 0,1,2")
    doubled = next((one for one in ids if ids.count(one) > 1), None)
    if doubled is not None:
        raise UsageError(
            f"--gpus names GPU {doubled} twice (several jobs on one GPU: see --jobs-per-gpu)"
        )
    odd = next((one for one in ids if not one.isprintable() or " " in one), None)
    if odd is not None:
        raise UsageError(
            f"--gpus has the id {odd!r}, which no GPU can have; expected one without blanks, "
            "such as 0, GPU-8f3a.. or MIG-.. (see nvidia-smi -L); without a driver any name does"
        )
    return tuple(ids)


def uuids(ids: Sequence[str], gpus: Sequence[GpuName]) -> dict[str, str]:
    """The UUID of the card that each id means, among the cards of the machine.

    Of a card that is lost it is the number.

    Raises:
        UsageError: a card has no such id, or two of the ids mean the same card.
    """
    found: dict[str, str] = {}
    for one in ids:
        gpu = _find(one, gpus)
        if gpu is None:
            known = ", ".join(gpu.number or gpu.uuid for gpu in gpus)
            raise UsageError(f"unknown GPU {one!r}; this machine has {known} (see sgs gpus)")
        key = gpu.uuid or gpu.number
        if key in found:
            raise UsageError(f"--gpus names one GPU twice: {found[key]} and {one}")
        found[key] = one
    return {one: uuid for uuid, one in found.items()}


def visible_ids(gpus: Sequence[GpuName], inherited: str | None) -> tuple[str, ...]:
    """Ids of all cards within an inherited CUDA_VISIBLE_DEVICES, as that names them.

    As in CUDA (programming guide, "CUDA environment variables"), the list ends at its first
    entry that is no card, and the start of a UUID stands for the card.
    """
    if inherited is None:
        return tuple(gpu.number or gpu.uuid for gpu in gpus)
    visible: list[str] = []
    for one in inherited.split(","):
        if _find(one.strip(), gpus) is None:
            break
        visible.append(one.strip())
    return tuple(dict.fromkeys(visible))


def hip_names(cards: Sequence[GpuName], rocr: str | None) -> list[GpuName]:
    """AMD cards as HIP counts them: within ROCR_VISIBLE_DEVICES, the first one there is 0."""
    if rocr is None:
        return list(cards)
    found = (_find(one, cards) for one in visible_ids(cards, rocr))
    uuids_left = dict.fromkeys(card.uuid for card in found if card is not None)
    return [GpuName(str(number), uuid) for number, uuid in enumerate(uuids_left)]


def uuids_by_number(gpus: Sequence[GpuName]) -> dict[str, tuple[str, ...]]:
    """The UUID of each card, or those of its slices, by the card's number."""
    found: dict[str, tuple[str, ...]] = {}
    for gpu in gpus:
        number = gpu.number or gpu.card
        found[number] = (*found.get(number, ()), gpu.uuid or number)
    return found


def _find(one: str, gpus: Sequence[GpuName]) -> GpuName | None:
    place = named([(int(gpu.number) if gpu.number else None, gpu.uuid) for gpu in gpus], one)
    return None if place is None else gpus[place]
