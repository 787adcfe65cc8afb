"""Which cards a job of several gets: those that talk to each other best.

NVLinks within the set count first, then pairs of one NUMA node, then the order of preference.
Pairs are counted by what their cards say of each other, so a link that only one names counts too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from simple_gpu_scheduler.policy.model import Card

#: So many sets are compared one by one (all of 4 of 16 cards are 1,820); beyond, greedily.
MAX_SETS = 2000

Score = tuple[int, int]


def best_connected(names: Sequence[str], count: int, cards: Iterable[Card]) -> tuple[str, ...]:
    """The best connected `count` of these cards, in the order in which they were given.

    Args:
        names: cards with room, the preferred ones first: among equals they are taken.
    """
    if count < 2 or count >= len(names):
        return tuple(names[:count])
    known = {card.name: card for card in cards}
    if not any(card.links or card.numa is not None for card in known.values()):
        return tuple(names[:count])
    pairs = _pairs(names, known)
    if math.comb(len(names), count) <= MAX_SETS:
        best = _exact(len(names), count, pairs)
    else:
        best = _greedy(len(names), count, pairs)
    return tuple(names[place] for place in best)


def connection(names: Sequence[str], cards: Iterable[Card]) -> Score:
    """How well these cards are connected: NVLinks among them, and pairs of one NUMA node."""
    pairs = _pairs(names, {card.name: card for card in cards})
    return _sum(pairs[a][b] for a, b in itertools.combinations(range(len(names)), 2))


def _pairs(names: Sequence[str], known: dict[str, Card]) -> list[list[Score]]:
    """How well each two are connected: NVLinks, and whether they share a NUMA node."""
    links = {name: dict(card.links) for name, card in known.items()}
    return [[_connection(a, b, known, links) for b in names] for a in names]


def _connection(a: str, b: str, known: dict[str, Card], links: dict[str, dict[str, int]]) -> Score:
    if a == b:
        return (0, 0)
    numa = known[a].numa
    near = numa is not None and numa == known[b].numa
    return max(links[a].get(b, 0), links[b].get(a, 0)), int(near)


def _exact(size: int, count: int, pairs: list[list[Score]]) -> tuple[int, ...]:
    """Sets come in the order of preference, and max keeps the first of equals."""
    return max(
        itertools.combinations(range(size), count),
        key=lambda places: _sum(pairs[a][b] for a, b in itertools.combinations(places, 2)),
    )


def _greedy(size: int, count: int, pairs: list[list[Score]]) -> tuple[int, ...]:
    """From each card, add the one that is best connected to those chosen; keep the best set."""
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
    for one in scores:
        links += one[0]
        near += one[1]
    return links, near
