"""A stand-in for amdsmi that keeps to its documentation; in this process, or of a state file.

`installed(folder)` puts it where `PYTHONPATH=folder LD_LIBRARY_PATH=folder` let a command find
it; its cards are then those of `write(folder, ...)`, looked at anew at every call.
"""

from __future__ import annotations

import enum
import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

_MODULE = """\
import json, sys
sys.path.insert(0, {here!r})
from amdsmi_standin import binding
def cards():
    state = json.load(open({state!r}))
    if isinstance(state, str):
        raise sys.modules["amdsmi"].AmdSmiException(state)
    return state
sys.modules["amdsmi"] = binding(cards)
"""


class AmdSmiError(Exception):
    pass


class Temperature(enum.IntEnum):
    EDGE = 0
    HOTSPOT = 1


#: What it knows to ask of a card.
FUNCTIONS = (
    *("amdsmi_get_gpu_enumeration_info", "amdsmi_get_gpu_device_uuid"),
    *("amdsmi_get_gpu_device_bdf", "amdsmi_get_gpu_asic_info", "amdsmi_get_gpu_vram_usage"),
    *("amdsmi_get_gpu_activity", "amdsmi_get_temp_metric", "amdsmi_get_power_info"),
    *("amdsmi_topo_get_numa_node_number", "amdsmi_get_gpu_total_ecc_count"),
    "amdsmi_get_gpu_process_list",
)


def binding(cards: Callable[[], list[dict[str, Any]]]) -> types.ModuleType:
    """A module with the functions that AMD documents; a card is what each of them answers."""

    def answers(name: str) -> Callable[..., Any]:
        def function(handle: dict[str, Any], *_: Any) -> Any:
            if name not in handle:
                raise AmdSmiError(f"{name}: not supported")
            return handle[name]

        return function

    smi = types.ModuleType("amdsmi")
    for name in FUNCTIONS:
        setattr(smi, name, answers(name))
    smi.AmdSmiException = AmdSmiError
    smi.AmdSmiTemperatureType = Temperature
    smi.AmdSmiTemperatureMetric = enum.IntEnum("Metric", ["CURRENT"])
    smi.AmdSmiLinkType = enum.IntEnum("LinkType", ["AMDSMI_LINK_TYPE_XGMI"])
    smi.amdsmi_init = lambda: cards() and None
    smi.amdsmi_shut_down = lambda: None
    smi.amdsmi_get_processor_handles = cards
    smi.amdsmi_topo_get_link_type = lambda one, two: {"hops": 1, "type": one["link"]}
    return smi


def mi300(hip_id: int = 0, **more: Any) -> dict[str, Any]:
    """A card of 192 GiB that nobody uses."""
    return {
        "amdsmi_get_gpu_enumeration_info": {"hip_id": hip_id, "hip_uuid": f"GPU-{hip_id}"},
        "amdsmi_get_gpu_device_uuid": f"uuid-{hip_id}",
        "amdsmi_get_gpu_device_bdf": "0000:11:00.0",
        "amdsmi_get_gpu_asic_info": {"market_name": "AMD Instinct MI300X"},
        "amdsmi_get_gpu_vram_usage": {"vram_total": 196592, "vram_used": 283},
        "amdsmi_get_gpu_activity": {"gfx_activity": 7, "mm_activity": "N/A"},
        "amdsmi_get_temp_metric": 41,
        "amdsmi_get_power_info": {"current_socket_power": 130, "average_socket_power": "N/A"},
        "amdsmi_topo_get_numa_node_number": 1,
        "amdsmi_get_gpu_total_ecc_count": {"uncorrectable_count": 0},
        "amdsmi_get_gpu_process_list": [],
        "link": 1,
        **more,
    }


def used(pid: int, memory_mib: int) -> dict[str, Any]:
    """What differs of a card that a process has so much memory of."""
    process = {"name": "x", "pid": pid, "memory_usage": {"vram_mem": memory_mib << 20}}
    return {
        "amdsmi_get_gpu_process_list": [process],
        "amdsmi_get_gpu_vram_usage": {"vram_total": 196592, "vram_used": 283 + memory_mib},
    }


def write(folder: Path, state: list[dict[str, Any]] | str) -> None:
    """The cards from now on, or the error that the driver answers with."""
    new = folder / "cards.new"
    new.write_text(json.dumps(state))
    new.replace(folder / "cards.json")


def installed(folder: Path) -> Path:
    """Put it into the folder, with a library that says that AMD's driver is there."""
    here, state = str(Path(__file__).parent), str(folder / "cards.json")
    (folder / "amdsmi.py").write_text(_MODULE.format(here=here, state=state))
    (folder / "libamd_smi.so").touch()
    return folder
