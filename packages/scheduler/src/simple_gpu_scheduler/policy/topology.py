"""Which GPUs a job of several GPUs gets: the set with the best connections.

First the NVLinks within the set count, then the pairs on one NUMA node, then the order of
preference. A link counts even if only one of its two GPUs reports it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from simple_gpu_scheduler.policy.model import Card

#: The most sets that are all compared (4 of 16 GPUs make 1,820). With more, the search is greedy.
MAX_SETS = 2000

#: NVLinks, and pairs on one NUMA node.
Score = tuple[int, int]


def best_connected(names: Sequence[str], count: int, cards: Iterable[Card]) -> tuple[str, ...]:
    """The `count` GPUs with the best connections, in the order given.

    Args:
        names: GPUs with room, the preferred ones first; among equals they are chosen.
        cards: all GPUs.
    """
    if count < 2 or count >= len(names):
        return tuple(names[:count])
    by_name = {card.name: card for card in cards}
    if not any(card.links or card.numa is not None for card in by_name.values()):
        return tuple(names[:count])
    pairs = _pairs(names, by_name)
    if math.comb(len(names), count) <= MAX_SETS:
        best = _exact(len(names), count, pairs)
    else:
        best = _greedy(len(names), count, pairs)
    return tuple(names[place] for place in best)


def connection(names: Sequence[str], cards: Iterable[Card]) -> Score:
    """How well these GPUs are connected."""
    pairs = _pairs(names, {card.name: card for card in cards})
    return _sum(pairs[a][b] for a, b in itertools.combinations(range(len(names)), 2))


def _pairs(names: Sequence[str], by_name: dict[str, Card]) -> list[list[Score]]:
    """How well each two GPUs are connected."""
    links = {name: dict(card.links) for name, card in by_name.items()}
    return [[_pair_score(a, b, by_name, links) for b in names] for a in names]


def _pair_score(
    a: str, b: str, by_name: dict[str, Card], links: dict[str, dict[str, int]]
) -> Score:
    if a == b:
        return (0, 0)
    numa = by_name[a].numa
    is_near = numa is not None and numa == by_name[b].numa
    return max(links[a].get(b, 0), links[b].get(a, 0)), int(is_near)


def _exact(size: int, count: int, pairs: list[list[Score]]) -> tuple[int, ...]:
    """The places of the best set; among equals, the preferred one."""
    # Sets come in the order of preference, and max keeps the first of equals.
    return max(
        itertools.combinations(range(size), count),
        key=lambda places: _sum(pairs[a][b] for a, b in itertools.combinations(places, 2)),
    )


def _greedy(size: int, count: int, pairs: list[list[Score]]) -> tuple[int, ...]:
    """The places of a good set: grow one from each GPU, and keep the best one."""
    best: tuple[int, ...] = ()
    best_score = (-1, -1)
    for first in range(size):
        places, score = _grow(first, size, count, pairs)
        if score > best_score:
            best, best_score = places, score
    return best


def _grow(
    first: int, size: int, count: int, pairs: list[list[Score]]
) -> tuple[tuple[int, ...], Score]:
    """Add the GPU that is best connected to those chosen, until there are enough."""
    gains = list(pairs[first])
    places, score = [first], (0, 0)
    while len(places) < count:
        added = max((n for n in range(size) if n not in places), key=gains.__getitem__)
        score = _sum((score, gains[added]))
        places.append(added)
        gains = [_sum(both) for both in zip(gains, pairs[added], strict=True)]
    return tuple(sorted(places)), score


def _sum(scores: Iterable[Score]) -> Score:
    links = near = 0
    for score in scores:
        links += score[0]
        near += score[1]
    return links, near
