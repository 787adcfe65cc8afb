"""Jobs of several GPUs get those that are best connected."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.jobs.job import Job
from simple_gpu_scheduler.policy import topology
from simple_gpu_scheduler.policy.model import Card, PipePolicy, Snapshot
from simple_gpu_scheduler.policy.plan import plan
from simple_gpu_scheduler.policy.topology import best_connected


def linked(name: str, *peers: tuple[str, int], numa: int | None = None) -> Card:
    return Card(name, links=peers, numa=numa)


#: A machine of four cards in two bridged pairs, 0-2 and 1-3.
BRIDGED = [linked("0", ("2", 4)), linked("1", ("3", 4)), linked("2", ("0", 4)), linked("3")]


def test_most_links_come_first() -> None:
    assert best_connected("0123", 2, BRIDGED) == ("0", "2")
    assert best_connected("1023", 2, BRIDGED) == ("1", "3"), "the first named decides"
    assert best_connected("123", 2, BRIDGED) == ("1", "3")
    assert best_connected("012", 2, BRIDGED) == ("0", "2")


def test_then_the_same_numa_node_then_the_order_of_the_user() -> None:
    nodes = [linked("0", numa=0), linked("1", numa=1), linked("2", numa=1), linked("3", numa=0)]
    assert best_connected("0123", 2, nodes) == ("0", "3")
    assert best_connected("1023", 2, nodes) == ("1", "2")
    assert best_connected("012", 2, nodes) == ("1", "2")
    assert best_connected("01", 2, nodes) == ("0", "1")
    unknown = [Card(name) for name in "0123"]
    assert best_connected("3120", 2, unknown) == ("3", "1")


def test_the_plan_gives_connected_gpus() -> None:
    snapshot = Snapshot(0.0, BRIDGED, [], [Job(1, b"true", gpus=2), Job(2, b"true", gpus=2)])
    for policy in (PipePolicy(), PipePolicy(order="backfill-frag"), PipePolicy(placement="pack")):
        starts = plan(snapshot, policy).starts
        assert [start.gpus for start in starts] == [("0", "2"), ("1", "3")]


machines = st.integers(2, 7).flatmap(
    lambda size: st.lists(
        st.builds(
            lambda links, numa: (links, numa),
            st.lists(st.sampled_from([0, 0, 1, 4, 12]), min_size=size, max_size=size),
            st.sampled_from([None, 0, 1]),
        ),
        min_size=size,
        max_size=size,
    )
)


def as_cards(machine: list[tuple[list[int], int | None]]) -> list[Card]:
    return [
        Card(str(n), links=tuple((str(m), links[m]) for m in range(len(links))), numa=numa)
        for n, (links, numa) in enumerate(machine)
    ]


def worth(names: tuple[str, ...], cards: list[Card]) -> tuple[int, int]:
    by_name = {card.name: card for card in cards}
    pairs = [(by_name[a], by_name[b]) for a, b in itertools.combinations(names, 2)]
    links = sum(max(dict(a.links)[b.name], dict(b.links)[a.name]) for a, b in pairs)
    return links, sum(a.numa is not None and a.numa == b.numa for a, b in pairs)


@given(machines, st.integers(2, 4))
def test_no_other_set_is_better(machine: list[tuple[list[int], int | None]], count: int) -> None:
    cards = as_cards(machine)
    names = [card.name for card in cards]
    chosen = best_connected(names, min(count, len(names)), cards)
    assert len(set(chosen)) == len(chosen) == min(count, len(names))
    assert all(
        worth(chosen, cards) >= worth(other, cards)
        for other in itertools.combinations(names, len(chosen))
    )


def test_of_many_cards_the_set_is_found_without_trying_all() -> None:
    """Eight boards of eight cards, linked within a board; the first has a card missing."""
    names = [str(n) for n in range(1, 64)]
    cards = [
        linked(str(n), *((str(m), 2) for m in range(n // 8 * 8, n // 8 * 8 + 8) if m != n))
        for n in range(64)
    ]
    assert topology.MAX_SETS < 10**6
    assert best_connected(names, 8, cards) == tuple(str(n) for n in range(8, 16))
