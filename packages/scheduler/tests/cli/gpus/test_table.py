"""What `sgs gpus` prints, from records."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.allocation.occupancy import Occupancy
from simple_gpu_scheduler.cli.gpus.table import objects, short_names, table
from simple_gpu_scheduler.gpus.records import Gpu, GpuProcess, Link
from simple_gpu_scheduler.jobs.job import GPU_UNITS
from simple_gpu_scheduler.leases.records import LeaseRecord
from simple_gpu_scheduler.text.terminal import text_width

NOW_S = time.mktime((2026, 5, 4, 15, 0, 0, 0, 0, -1))
LEASE = LeaseRecord("x", 1000, "anna", 42, "notebook", NOW_S - 3600, ("GPU-a",), GPU_UNITS)
CARD = Gpu(0, "GPU-a", "NVIDIA H100 80GB HBM3", "", 81559, 551, 97, 62, 655.4)
FREE = Occupancy("free")


def test_a_table() -> None:
    half = LEASE._replace(units=GPU_UNITS // 2, memory_mib=4096, since_s=NOW_S - 86400)
    bobs = GpuProcess(4242, "bob", "python3", 31000)
    assert table(
        [
            (CARD, Occupancy("leased", (LEASE,))),
            (Gpu(1, "GPU-b", "Tesla T4"), Occupancy("used", (half,), (bobs,))),
            (Gpu(10, "", fault="it has fallen off"), Occupancy("fault")),
        ],
        NOW_S,
    ) == [
        "GPU  name                   memory MiB  use  temp  power  state",
        "0    NVIDIA H100 80GB HBM3   551/81559  97%  62 C  655 W  leased",
        "     leased by anna since 14:00: notebook, process 42",
        "1    Tesla T4                        -    -     -      -  used",
        "     leased by anna since 03 May 2026 15:00: notebook, process 42, 4096 MiB",
        "     process 4242 (python3) of bob, 31000 MiB, has no lease",
        "10   -                               -    -     -      -  fault",
        "     it has fallen off",
        "",
        "0 of 3 GPUs are free.",
    ]


def test_one_gpu_and_none() -> None:
    assert table([(CARD, FREE)], NOW_S)[-1] == "1 of 1 GPU is free."
    assert table([], NOW_S) == ["The driver answers, but has no GPU."]


def test_somebody_whom_the_driver_does_not_name() -> None:
    seen = [(CARD, Occupancy("used", unnamed_mib=30_000))]
    assert table(seen, NOW_S)[2] == (
        "     30000 MiB of processes that the driver doesn't name (in a container?)"
    )
    assert [one["unnamed_mib"] for one in objects(seen)] == [30_000]


def test_a_process_that_is_not_to_be_seen() -> None:
    lines = table([(CARD, Occupancy("used", (), (GpuProcess(7),)))], NOW_S)
    assert lines[2] == ("     process 7, memory unknown: can't be seen (ended, or in a container)")


def test_a_share_is_told_where_the_lease_says_no_memory() -> None:
    half = LEASE._replace(units=GPU_UNITS // 2)
    assert table([(CARD, Occupancy("shared", (half,)))], NOW_S)[2].endswith("42, 50% of it")


SLICE = CARD._replace(
    uuid="MIG-12345678-1111", name="NVIDIA H100 80GB HBM3 MIG 3g.40gb", parent="x"
)


def test_names_give_way_on_a_narrow_terminal() -> None:
    seen = [(CARD, Occupancy("free")), (SLICE, Occupancy("leased"))]
    whole = table(seen, NOW_S)
    assert max(map(len, whole)) > 80
    assert table(seen, NOW_S, 200) == whole
    assert table(seen, NOW_S, 80) == [
        "GPU           name                          memory MiB  use  temp  power  state",
        "0             NVIDIA H100 80GB HBM3          551/81559  97%  62 C  655 W  free",
        "MIG-12345678  NVIDIA H100 80GB HBM3 MIG...   551/81559  97%  62 C  655 W  leased",
        *whole[3:],
    ]


def test_a_name_keeps_8_columns_on_any_terminal() -> None:
    assert table([(SLICE, Occupancy("leased"))], NOW_S, 20)[1].split()[1] == "NVIDI..."
    assert table([(CARD._replace(name="T4"), FREE)], NOW_S, 1)[1].split()[1] == "T4"


@given(name=st.text(st.characters(), max_size=60), width=st.integers(66, 120))
def test_every_gpu_has_a_line_that_fits(name: str, width: int) -> None:
    lines = table([(CARD, FREE), (SLICE._replace(name=name), FREE)], NOW_S, width)
    assert max(map(text_width, lines[:3])) <= width


def test_names_that_would_steer_the_terminal_are_escaped() -> None:
    rude = GpuProcess(7, "bob", "a\x1b[2J\nb c", 1)
    text = "\n".join(table([(CARD, Occupancy("used", (), (rude,)))], NOW_S))
    assert r"(a\x1b[2J\nb c) of bob" in text


def test_slices_are_named_by_as_much_of_the_uuid_as_is_needed() -> None:
    gpus = [
        Gpu(0, "GPU-a"),
        Gpu(1, "MIG-12345678-1111", parent="GPU-b"),
        Gpu(1, "MIG-12345678-2222", parent="GPU-b"),
        Gpu(1, "MIG-99999999-3333", parent="GPU-b"),
    ]
    assert short_names(gpus) == ["0", "MIG-12345678-1", "MIG-12345678-2", "MIG-99999999"]


def test_a_usual_table_has_100_columns_at_most() -> None:
    process = GpuProcess(4194304, "a" * 16, "x" * 15, 81559)
    seen = [(CARD, Occupancy("used", (LEASE,), (process,)))]
    assert max(map(len, table(seen, NOW_S))) <= 100


text = st.text(max_size=20)
numbers = st.none() | st.integers(0, 10**6)


@given(name=text, user=text, memory=numbers, power=st.none() | st.floats(0, 2000))
def test_any_text_gives_one_line_a_fact_and_json(
    name: str, user: str, memory: int | None, power: float | None
) -> None:
    gpu = CARD._replace(name=name, memory_total_mib=memory, power_w=power)
    process = GpuProcess(1, user, name, memory)
    lease = LEASE._replace(user=user, kind=name)
    seen = [(gpu, Occupancy("used", (lease,), (process,)))]
    lines = table(seen, NOW_S)
    assert len(lines) == 6
    assert all(line.isprintable() for line in lines)
    assert json.loads(json.dumps(objects(seen), allow_nan=False))


def test_an_object() -> None:
    half = LEASE._replace(units=GPU_UNITS // 2)
    gpu = CARD._replace(links=(Link("GPU-b", 4),), processes=(GpuProcess(7),))
    assert objects([(gpu, Occupancy("shared", (half,), (GpuProcess(7),)))]) == [
        {
            "gpu": "0",
            "index": 0,
            "uuid": "GPU-a",
            "name": "NVIDIA H100 80GB HBM3",
            "pci_bus_id": "",
            "state": "shared",
            "free": False,
            "fault": None,
            "memory_total_mib": 81559,
            "memory_used_mib": 551,
            "utilisation_percent": 97,
            "temperature_c": 62,
            "power_w": pytest.approx(655.4),
            "parent": None,
            "compute_share": None,
            "numa_node": None,
            "links": [{"uuid": "GPU-b", "nvlinks": 4}],
            "leases": [
                {"id": "x", "user": "anna", "kind": "notebook", "pid": 42,
                 "since_s": NOW_S - 3600, "share": 0.5, "memory_mib": None}
            ],
            "processes": [{"pid": 7, "user": None, "name": None, "memory_mib": None}],
            "strangers": [{"pid": 7, "user": None, "name": None, "memory_mib": None}],
            "unnamed_mib": 0,
        }
    ]  # fmt: skip
