from itertools import islice

import pytest

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.search.samplers.sobol import (
    BITS,
    direction_numbers,
    points,
    shifted_points,
)

MOST = 128


def first(count, dimensions):
    return list(islice(points([0] * dimensions), count))


def test_the_first_points_in_two_dimensions():
    quarters = [tuple(4 * x // 2**BITS for x in point) for point in first(4, 2)]
    assert quarters == [(0, 0), (2, 2), (3, 1), (1, 3)]


@pytest.mark.parametrize("dimensions", [1, 2, 7, 32, MOST])
def test_the_sequence_is_that_of_scipy(dimensions):
    qmc = pytest.importorskip("scipy.stats", reason="scipy is the oracle").qmc
    expected = qmc.Sobol(dimensions, scramble=False, bits=BITS).random(1024)
    found = [[x / 2**BITS for x in point] for point in first(1024, dimensions)]
    assert found == expected.tolist()


@pytest.mark.parametrize("dimension", range(0, MOST, 9))
def test_every_prefix_of_256_has_one_point_in_each_interval(dimension):
    intervals = [point[dimension] >> (BITS - 8) for point in first(256, MOST)]
    assert sorted(intervals) == list(range(256))


def test_a_shift_keeps_the_evenness_and_leaves_the_corner():
    for seed in range(20):
        found = list(islice(shifted_points(5, seed), 64))
        assert all(found[0])
        for column in zip(*found, strict=True):
            assert sorted(x >> (BITS - 6) for x in column) == list(range(64))


def test_seeds_decide_the_shift():
    one, same, other = (list(islice(shifted_points(3, seed), 5)) for seed in (1, 1, 2))
    assert one == same != other


def test_direction_numbers_reach_every_bit():
    for numbers in direction_numbers(MOST):
        assert [x & -x for x in numbers] == [1 << (BITS - 1 - bit) for bit in range(BITS)]


def test_more_dimensions_than_the_table_has():
    with pytest.raises(UsageError, match="for up to 128 parameters, not 129"):
        direction_numbers(MOST + 1)
