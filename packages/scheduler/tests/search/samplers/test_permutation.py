import random
from collections import Counter
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.search.samplers import permutation as module
from simple_gpu_scheduler.search.samplers.permutation import (
    SHUFFLED_IN_MEMORY,
    enciphered,
    permutation,
)

SEEDS = st.integers(-(2**70), 2**70)


@given(st.integers(1, 3000), SEEDS)
def test_every_index_comes_once(size, seed):
    assert sorted(permutation(size, seed)) == list(range(size))
    assert sorted(enciphered(size, random.Random(seed))) == list(range(size))


@given(st.integers(1, 3000), SEEDS)
def test_every_index_comes_once_with_chunked_tables_too(size, seed):
    rows = module.isqrt(size - 1) + 1
    columns = -(-size // rows)
    found = module._by_chunked_tables(size, rows, columns, random.Random(seed))
    assert sorted(found) == list(range(size))


@pytest.mark.parametrize("size", [SHUFFLED_IN_MEMORY + 1, 10**5, 3**11])
def test_large_ranges_are_covered_too(size):
    assert sorted(permutation(size, 5)) == list(range(size))


@given(st.integers(2**24, 10**40), SEEDS)
def test_no_index_comes_twice_or_lies_outside_whatever_the_size(size, seed):
    found = list(islice(permutation(size, seed), 200))
    assert len(set(found)) == 200
    assert all(0 <= index < size for index in found)


def test_a_small_range_is_shuffled_as_by_the_standard_library():
    for size in (1, 2, 6, 1000, SHUFFLED_IN_MEMORY):
        expected = list(range(size))
        random.Random(3).shuffle(expected)
        assert list(permutation(size, 3)) == expected


def test_the_order_is_the_seeds_alone():
    for size in (10, 10**5, 10**18):
        one, same, other = (list(islice(permutation(size, s), 8)) for s in (1, 1, 2))
        assert one == same != other


def test_without_a_seed_each_order_is_another():
    assert len({tuple(islice(permutation(10**18, None), 3)) for _ in range(10)}) == 10


def chi_square(counts, expected):
    return sum((count - expected) ** 2 / expected for count in counts)


@pytest.mark.parametrize("size", [100_000, 10**7, 10**9, 10**18])
def test_early_indices_fall_evenly_over_the_range(size):
    draws, bins = 20_000, 100
    counts = Counter(index * bins // size for index in islice(permutation(size, 11), draws))
    found = chi_square((counts[b] for b in range(bins)), draws / bins)
    assert 50 < found < 160  # 99 degrees of freedom: far beyond 0.9999 on both sides


@pytest.mark.parametrize("size", [100_000, 10**7, 10**9, 10**18])
def test_neighbours_are_independent(size):
    draws, bins = 40_000, 10
    found = [index * bins // size for index in islice(permutation(size, 12), draws)]
    counts = Counter(pairwise(found))
    cells = [counts[a, b] for a in range(bins) for b in range(bins)]
    assert 50 < chi_square(cells, (draws - 1) / bins**2) < 160


def test_low_digits_are_even_too():
    draws = 20_000
    counts = Counter(index % 10 for index in islice(permutation(10**12, 13), draws))
    assert chi_square(counts.values(), draws / 10) < 34  # 9 degrees of freedom


def test_an_enciphered_order_has_as_many_fixed_points_as_chance():
    fixed = [
        sum(p == i for p, i in enumerate(enciphered(500, random.Random(seed))))
        for seed in range(400)
    ]
    assert 0.8 < sum(fixed) / len(fixed) < 1.2


def test_all_orders_of_a_few_are_equally_likely():
    seeds = 24 * 200
    counts = Counter(tuple(enciphered(4, random.Random(seed))) for seed in range(seeds))
    assert len(counts) == 24
    assert chi_square(counts.values(), 200) < 60  # 23 degrees of freedom
