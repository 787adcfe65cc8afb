"""What is told of a decision is what was decided."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import worlds
from simple_gpu_scheduler.jobs.job import GPU_UNITS, Job, share_units
from simple_gpu_scheduler.policy.explain import Explanation, GpuClaims, explain
from simple_gpu_scheduler.policy.model import Card, PipePolicy, Snapshot
from simple_gpu_scheduler.policy.plan import plan

people = st.sampled_from(["", "carol (pid 7, python3, 40 GiB)"])
known_cards = st.builds(
    GpuClaims,
    fault=st.sampled_from(["", "", "3 uncorrectable ECC errors"]),
    held=st.lists(st.sampled_from(["anna's job (pid 1) since 14:02", "\x1b[1m's shell"])).map(
        tuple
    ),
    reserved=st.lists(st.just("bob (pid 2)"), max_size=1).map(tuple),
    used=people,
    barred=st.booleans(),
    kept=st.booleans(),
).map(lambda one: one._replace(barred=one.barred and bool(one.used)))
machines = st.integers(1, 4).flatmap(lambda size: worlds.cards(worlds.GPU_NAMES[:size]))
known_machines = st.dictionaries(st.sampled_from(worlds.GPU_NAMES), known_cards)


def named(found: Explanation) -> tuple[str, ...]:
    """The GPUs in the sentence at the end."""
    match = re.search(r" start now on GPUs? (\S+): ", found.summary)
    return tuple(match[1].split(",")) if match else ()


@given(worlds.jobs(), machines, worlds.policies, known_machines)
def test_what_is_named_is_what_the_plan_chooses(
    job: Job, cards: list[Card], policy: PipePolicy, known: dict[str, GpuClaims]
) -> None:
    found = explain(job, cards, policy, known)
    starts = plan(Snapshot(0.0, cards, (), (job,)), policy).starts
    gpus = starts[0].gpus if starts else ()
    if found.failed:
        assert all(known[card.name].fault for card in cards)
        gpus = ()
    assert found.gpus == named(found) == gpus
    assert {one.gpu for one in found.verdicts if one.chosen} == set(gpus)
    assert bool(gpus) != ("would wait" in found.summary or "would fail" in found.summary)


@given(worlds.jobs(), machines, worlds.policies, known_machines)
def test_every_gpu_has_a_reason_and_it_is_always_the_same(
    job: Job, cards: list[Card], policy: PipePolicy, known: dict[str, GpuClaims]
) -> None:
    found = explain(job, cards, policy, known)
    assert [one.gpu for one in found.verdicts] == [card.name for card in cards]
    assert all(one.reason.strip("; ") == one.reason != "" for one in found.verdicts)
    assert all(one.fits for one in found.verdicts if one.chosen)
    assert found == explain(job, list(cards), policy, dict(known))


@given(worlds.jobs(), machines, worlds.policies)
def test_a_job_waits_exactly_if_too_few_have_room(
    job: Job, cards: list[Card], policy: PipePolicy
) -> None:
    found = explain(job, cards, policy, {})
    assert bool(found.gpus) == (sum(one.fits for one in found.verdicts) >= job.gpus)


FULL, HALF = GPU_UNITS, share_units(2)


def reason(job: Job, card: Card, known: GpuClaims) -> str:
    return explain(job, [card], PipePolicy(), {card.name: known}).verdicts[0].reason


@pytest.mark.parametrize(
    ("card", "known", "expected"),
    [
        (Card("0"), GpuClaims(), "free"),
        (Card("0", HALF), GpuClaims(held=("anna's job (pid 1) since 14:02",)),
         "leased by anna's job (pid 1) since 14:02"),
        (Card("0", FULL), GpuClaims(reserved=("bob (pid 2)",)),
         "reserved for bob (pid 2), who has waited longer"),
        (Card("0", FULL), GpuClaims(used="carol (pid 7)", barred=True), "used by carol (pid 7)"),
        (Card("0"), GpuClaims(used="carol (pid 7)"), "has room; used by carol (pid 7)"),
        (Card("0", FULL), GpuClaims(kept=True), "kept free (--keep-free)"),
        (Card("0", FULL), GpuClaims(fault="ECC", held=("anna's job",)), "fault: ECC"),
        (Card("0", FULL), GpuClaims(held=("a", "b"), used="c", barred=True),
         "leased by a; leased by b; used by c"),
        (Card("0", 1), GpuClaims(), "has no room"),
    ],
)  # fmt: skip
def test_reasons_of_a_whole_gpu(card: Card, known: GpuClaims, expected: str) -> None:
    assert reason(Job(1, b""), card, known) == expected


@pytest.mark.parametrize(
    ("card", "known", "expected"),
    [
        (Card("0", 1, 80_000, leased_mib=67_712), GpuClaims(held=("anna's job",)),
         "lacks memory: 12 GiB free of the 30 GiB asked; shared with anna's job"),
        (Card("0", 0, 80_000, strangers_mib=90_000), GpuClaims(used="carol (pid 7)"),
         "lacks memory: 0 MiB free of the 30 GiB asked; used by carol (pid 7)"),
        (Card("0", 1, 40_960), GpuClaims(held=("anna's job",)),
         "has room (40 GiB of memory); shared with anna's job"),
        (Card("0", 0, 40_960), GpuClaims(), "free (40 GiB of memory)"),
        (Card("0"), GpuClaims(), "nobody knows how much memory it has"),
        (Card("0", FULL, 80_000), GpuClaims(held=("anna's job",)), "leased by anna's job"),
    ],
)  # fmt: skip
def test_reasons_where_memory_is_asked_for(card: Card, known: GpuClaims, expected: str) -> None:
    assert reason(Job(1, b"", units=1, memory_mib=30 * 1024), card, known) == expected


def linked(pairs: dict[tuple[int, int], int], numa: str = "----") -> list[Card]:
    return [
        Card(
            str(n),
            links=tuple((str(b), links) for (a, b), links in pairs.items() if a == n),
            numa=None if numa[n] == "-" else int(numa[n]),
        )
        for n in range(4)
    ]


LOADED = [Card("0", HALF), Card("1"), Card("2", share_units(4))]
QUARTER = Job(1, b"", units=share_units(4))


@pytest.mark.parametrize(
    ("job", "cards", "placement", "expected"),
    [
        (Job(1, b"", 2), linked({(1, 3): 12}), "default",
         "a job of 2 GPUs would start now on GPUs 1,3: 12 direct links between them, the best "
         "connected pair of 4 with room"),
        (Job(1, b"", 2), linked({}, "0110"), "default",
         "a job of 2 GPUs would start now on GPUs 0,3: on one NUMA node, the best connected pair "
         "of 4 with room"),
        (Job(1, b"", 3), linked({}, "0110"), "default",
         "a job of 3 GPUs would start now on GPUs 0,1,2: 1 of 3 pairs on one NUMA node, the best "
         "connected set of 4 with room"),
        (Job(1, b"", 2), linked({}), "pack",
         "a job of 2 GPUs would start now on GPUs 0,1: the first 2 of 4 that are alike"),
        (Job(1, b"", 4), linked({(1, 3): 12}), "default",
         "a job of 4 GPUs would start now on GPUs 0,1,2,3: the only ones with room"),
        (QUARTER, LOADED, "default",
         "a job of 1 GPU (1/4 of it) would start now on GPU 1: the least loaded of 3 with room"),
        (QUARTER, LOADED, "pack",
         "a job of 1 GPU (1/4 of it) would start now on GPU 0: it leaves least free there (pack)"),
        (Job(1, b""), LOADED, "default",
         "a job of 1 GPU would start now on GPU 1: the only one with room"),
        (Job(1, b"", 2), LOADED, "default", "the job would wait: it needs 2 GPUs, and 1 is free"),
    ],
)  # fmt: skip
def test_the_decision(job: Job, cards: list[Card], placement: str, expected: str) -> None:
    assert explain(job, cards, PipePolicy(placement=placement), {}).summary == expected


def test_of_too_many_sets_it_does_not_claim_the_best() -> None:
    cards = [
        Card(str(n), links=tuple((str(m), 1) for m in range(20) if m // 8 == n // 8 != n))
        for n in range(20)
    ]
    found = explain(Job(1, b"", 8), cards, PipePolicy(), {})
    assert "direct links between them, a well connected set of 20 with room" in found.summary


def test_the_links_that_are_counted_are_those_of_the_choice() -> None:
    cards = linked({(0, 1): 2, (1, 2): 3, (2, 3): 4, (0, 2): 1})
    for count in (2, 3):
        found = explain(Job(1, b"", count), cards, PipePolicy(), {})
        links = {frozenset((card.name, peer)): n for card in cards for peer, n in card.links}
        pairs = map(frozenset, itertools.combinations(found.gpus, 2))
        assert f": {sum(links.get(pair, 0) for pair in pairs)} direct links" in found.summary


def test_without_a_gpu_that_is_well_it_would_fail() -> None:
    cards = [Card("0", FULL), Card("1", FULL)]
    lost = GpuClaims(fault="the GPU has fallen off the bus")
    found = explain(Job(1, b""), cards, PipePolicy(), {"0": lost, "1": lost})
    assert (found.failed, found.summary) == (True, "the job would fail: no GPU is left to run on")
    assert not explain(Job(1, b""), cards, PipePolicy(), {"0": lost}).failed
