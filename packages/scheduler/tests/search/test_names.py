import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.search.names import MAX_LENGTH, RunNames
from simple_gpu_scheduler.search.spaces.choices import Listed
from simple_gpu_scheduler.search.spaces.space import Axis, Space

TEXT = st.text(max_size=8) | st.text(alphabet="_=ab%", max_size=5)


def names_for(prefix="", **values):
    return RunNames(
        Space([Axis([name], [Listed(list(found))]) for name, found in values.items()]), prefix
    )


def test_a_name_tells_the_parameters_that_differ():
    names = names_for(lr=["0.001", "0.1"], bs=["32", "64"], data=["mnist"])
    assert names.of({"lr": "0.001", "bs": "32", "data": "mnist"}) == "lr=0.001_bs=32"


def test_if_none_differs_the_name_tells_all():
    assert names_for(a=["1"], b=["2", "2"]).of({"a": "1", "b": "2"}) == "a=1_b=2"


def test_a_prefix_comes_first():
    assert names_for("first", a="12").of({"a": "1"}) == "first_a=1"


def test_unsafe_bytes_are_percent_encoded():
    assert names_for(a=["x/y z", "ü%"]).of({"a": "x/y z"}) == "a=x%2Fy%20z"
    assert names_for(a=["x/y z", "ü%"]).of({"a": "ü%"}) == "a=%C3%BC%25"
    assert names_for(**{".a": "12"}).of({".a": "1"}) == "%2Ea=1"
    assert names_for(a=["\udcff", ""]).of({"a": "\udcff"}) == "a=%FF"


@given(st.lists(st.tuples(TEXT, TEXT), min_size=2, max_size=6, unique=True))
def test_different_combinations_have_different_names(pairs):
    names = names_for(a=[a for a, _ in pairs] + ["other"], a_b=[b for _, b in pairs] + ["other"])
    assert len({names.of({"a": a, "a_b": b}) for a, b in pairs}) == len(pairs)


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=4))
def test_a_name_is_a_file_name_and_a_word(value, parameter):
    name = names_for(**{parameter: [value, value + "x"]}).of({parameter: value})
    assert shlex.split(name) == [name] == [shlex.quote(name)]
    assert re.fullmatch(r"[\w%=+][\w.%=+-]*", name, re.ASCII)
    assert len(name) <= MAX_LENGTH


def test_long_names_differ_by_their_hash():
    names = names_for(a=["x" * 500 + end for end in "12"])
    one, other = (names.of({"a": "x" * 500 + end}) for end in "12")
    assert one != other
    assert len(one) == len(other) == MAX_LENGTH
    assert one[:183] == other[:183]


@pytest.mark.parametrize("prefix", ["a b", "a/b", "-a", ".a", "ü", "a\nb", "a=b"])
def test_an_unsafe_prefix_is_an_error(prefix):
    with pytest.raises(UsageError, match="the prefix may hold"):
        names_for(prefix, a="12")
