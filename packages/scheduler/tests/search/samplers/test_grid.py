import itertools
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiles import examples
from simple_gpu_scheduler.search import template
from simple_gpu_scheduler.search.arguments import parse
from simple_gpu_scheduler.search.samplers import grid as module
from simple_gpu_scheduler.search.samplers.grid import Grid
from simple_gpu_scheduler.search.spaces.space import build

NAMES = "abcd"


def oracle(lists, text):
    return [
        text.format_map(dict(zip(NAMES, values, strict=False))) + "\n"
        for values in itertools.product(*lists)
    ]


def grid(lists, text):
    pairs = zip(NAMES, lists, strict=False)
    argv = [token for name, values in pairs for token in ("-p", name, *values)]
    space = build(parse(["cmd", *argv]))
    return Grid(space, template.parse(text), lambda piece, values: piece.render(values), "\n")


@st.composite
def grids(draw):
    sizes = draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    lists = [[f"{name}{n}" for n in range(size)] for name, size in zip(NAMES, sizes, strict=False)]
    extra = draw(st.lists(st.sampled_from(NAMES[: len(sizes)]), max_size=4))
    order = draw(st.permutations([*NAMES[: len(sizes)], *extra]))
    literals = draw(st.lists(st.sampled_from(["", " ", "--", "{{}}"]), min_size=len(order) + 1))
    fields = [f"{{{name}}}" if n % 2 else f"{{{name}:>3}}" for n, name in enumerate(order)]
    pairs = itertools.zip_longest(literals[: len(order) + 1], fields, fillvalue="")
    return lists, "".join(itertools.chain.from_iterable(pairs))


@given(grids(), st.sampled_from([1, 2, 5, 12, 50, 10**6]), st.integers(1, 3000))
@settings(max_examples=examples(3))
def test_a_grid_in_order_equals_nested_loops_whatever_the_size_of_groups(
    given_grid, largest, limit
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_GROUP", largest)
        expected = oracle(*given_grid)[:limit]
        assert "".join(grid(*given_grid).blocks_in_order(limit)) == "".join(expected)


@given(grids(), st.sampled_from([1, 2, 5, 12, 50, 10**6]), st.randoms(use_true_random=False))
@settings(max_examples=examples(3))
def test_picked_lines_are_those_of_the_grid_in_order(given_grid, largest, random):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_GROUP", largest)
        expected = oracle(*given_grid)
        indices = [random.randrange(len(expected)) for _ in range(50)]
        found = "".join(grid(*given_grid).blocks_at(indices))
        assert found == "".join(expected[index] for index in indices)


def test_long_lines_make_short_blocks():
    lists = [[str(n) for n in range(100)]] * 2
    text = "x" * 50_000 + "{a} {b}"
    blocks = grid(lists, text).blocks_in_order(10**6)
    assert max(len(block) for block in itertools.islice(blocks, 50)) < 3 * module.MAX_TEXT


def test_the_first_block_of_picked_lines_is_one_line():
    blocks = [
        block.count("\n") for block in grid([["1", "2"]] * 3, "{a}{b}{c}").blocks_at(range(8))
    ]
    assert blocks == [1, 2, 4, 1]


def test_an_axis_larger_than_memory_is_made_as_it_goes():
    space = build(parse(["cmd", "-p", "a", "1", "2", "-p", "b", "int:1:1000000000000"]))
    render = SimpleNamespace(calls=0)

    def counted(piece, values):
        render.calls += 1
        return piece.render(values)

    made = Grid(space, template.parse("{a} {b}"), counted, "\n")
    assert next(made.blocks_in_order(10**12)).startswith("1 1\n1 2\n")
    assert list(made.blocks_at([10**12 + 41])) == ["2 42\n"]
    assert render.calls < 20_000
