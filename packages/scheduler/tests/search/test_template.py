import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.search.template import check_names, check_parameter_name, parse

VALUES = {"a": "12", "b": "7", "a b": "x", "ä-ß": "ü"}


def filled(text, values=VALUES):
    pattern = parse(text)
    pieces = [piece.literal + piece.render(values) for piece in pattern.placeholders]
    return "".join(pieces) + pattern.tail


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "{a}",
        "{a}{a} {b}",
        "{{{a}}} {{}} }}{{",
        "{a:>5}|{a!r}|{a!s:*^9}|{a:{b}}|{a:{b}.{b}}",
        "{a b} {ä-ß}",
        "awk '{{print $1}}' {a}",
        "{a:}",
    ],
)
def test_the_rules_are_those_of_format(text):
    assert filled(text) == text.format_map(VALUES)


@given(st.text(alphabet="{}ab!r:>5 ", max_size=12))
@example("{a:{{^5}")
@example("{a:{b:{a}}}")
@example("{a{b}}")
@example("{a!r }")
def test_any_text_gives_what_format_gives_or_an_error_where_it_fails(text):
    try:
        expected = text.format_map(VALUES)
    except (ValueError, KeyError, TypeError):
        expected = None
    try:
        found = filled(text)
    except (UsageError, KeyError):
        found = None
    assert found == expected


def test_names_come_once_and_in_order_with_those_inside_formats():
    assert parse("{b} {a:>{w}} {b}").names() == ["b", "a", "w"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x {a", "single '{' at character 3 of the command, in 'x {a'; write {{ and }}"),
        ("{a} }", "single '}' at character 5"),
        ("{}", "placeholder {} has no name"),
        ("{0}", "placeholder {0} has no name"),
        ("{:>4}", "has no name"),
        ("{a.b}", "placeholder {a.b}: a value has no attributes or items"),
        ("{a[0]}", "a value has no attributes or items"),
        ("{a!x}", "after '!' comes r, s or a"),
        ("{a!}", "after '!' comes r, s or a"),
        ("{a{b}}", "a brace inside its name"),
    ],
)
def test_what_is_no_placeholder_is_explained(text, message):
    with pytest.raises(UsageError) as raised:
        parse(text)
    assert message in str(raised.value)


def test_an_unknown_name_is_listed_beside_the_known():
    with pytest.raises(UsageError, match=r"has \{HOME\}.*known are \{a\}, \{b\}; write \{\{"):
        check_names(parse("${HOME} {a}"), ["a", "b"])
    with pytest.raises(UsageError, match="add --name"):
        check_names(parse("{name}"), ["a"])


@pytest.mark.parametrize("text", ["{a:.3f}", "{a:d}", "{a:99999999999999999999}"])
def test_a_format_for_numbers_is_an_error_that_shows_the_value(text):
    with pytest.raises(UsageError, match=r"'a=12'.*values are text"):
        filled(text)


def test_a_format_that_a_number_has_not_is_not_blamed_on_text():
    (piece,) = parse("{i:q}").placeholders
    with pytest.raises(UsageError) as raised:
        piece.render({"i": 3})
    assert "'i=3'" in str(raised.value)
    assert "text" not in str(raised.value)


@pytest.mark.parametrize("name", ["", "0", "a.b", "a[", "{a}", "a!", "a:b", "a\nb"])
def test_a_name_that_no_placeholder_can_have(name):
    with pytest.raises(UsageError):
        check_parameter_name(name)
