import pytest
from hypothesis import given
from hypothesis import strategies as st

from simple_gpu_scheduler.errors import UsageError
from simple_gpu_scheduler.search.arguments import find_misspelt, parse, parse_option


def test_the_values_of_a_parameter_go_on_until_the_next_option():
    options = parse(["cmd", "-p", "lr", "1", "2", "--parameter", "bs", "3", "--seed", "7"])
    assert options.template == "cmd"
    assert options.parameters == [("lr", ["1", "2"]), ("bs", ["3"])]
    assert options.seed == 7


@pytest.mark.parametrize("value", ["-1", "-1e-3", "--augment", "", "-", "--no", "-pre", "--s"])
def test_a_value_may_look_like_an_option_of_another_program(value):
    assert parse(["cmd", "-p", "a", "x", value, "y"]).parameters == [("a", ["x", value, "y"])]


@pytest.mark.parametrize(
    ("token", "meant"),
    [
        ("--sampling_mode", "--sampling-mode"),
        ("--n-smaples", "--n-samples"),
        ("--nsamples=3", "--n-samples"),
        ("--samples", "--n-samples"),
        ("--Seed", "--seed"),
        ("--sampling_m", "--sampling-mode"),
        ("--exlude", "--exclude"),
        ("--qoute", "--quote"),
    ],
)
@pytest.mark.parametrize("option", ["-p", "--link"])
def test_a_misspelt_option_is_no_value(token, meant, option):
    with pytest.raises(UsageError) as raised:
        parse(["cmd", option, "a", "1", token, "grid"])
    advice = f"did you mean {meant}? If it is a value, write '={token}'"
    assert advice in str(raised.value)
    assert find_misspelt("=" + token) is None


@pytest.mark.parametrize(
    "value",
    [
        *("--augment", "--nesterov", "--full", "--amp", "--no-bias", "--mount", "--quiet"),
        *("--seed more", "--fp16", "--link-time", "--sparse", "--parameters-only"),
    ],
)
def test_a_value_is_not_taken_for_a_misspelt_option(value):
    assert find_misspelt(value) is None


@given(st.lists(st.text(), max_size=5))
def test_any_other_text_is_a_value(values):
    values = [
        value
        for value in values
        if value != "--" and not (parse_option(value) or find_misspelt(value))
    ]
    assert parse(["cmd", "-p", "a", *values]).parameters == [("a", values)]


def test_a_parameter_may_be_attached_to_its_option_with_an_equals_sign():
    options = parse(["cmd", "-p=a", "1", "--parameter=b", "2", "3"])
    assert options.parameters == [("a", ["1"]), ("b", ["2", "3"])]


def test_the_command_may_come_last_after_an_option_with_its_own_value():
    assert parse(["-p", "a", "1", "--seed", "3", "cmd"]).template == "cmd"


def test_two_dashes_end_the_values():
    options = parse(["-p", "a", "1", "2", "--", "-cmd"])
    assert options.template == "-cmd"
    assert options.parameters == [("a", ["1", "2"])]


def test_a_command_may_begin_with_a_dash():
    assert parse(["-x {a}", "-p", "a", "1"]).template == "-x {a}"


def test_long_options_may_be_cut_short():
    options = parse(["cmd", "-p", "a", "1", "--sampling", "grid", "--n-s=4"])
    assert (options.mode, options.n_samples) == ("grid", 4)


def test_the_bare_name_flag_leaves_the_next_token_alone():
    options = parse(["--name", "cmd", "-p", "a", "1"])
    assert (options.run_name, options.template) == ("", "cmd")
    assert parse(["cmd", "--name=run"]).run_name == "run"
    assert parse(["cmd"]).run_name is None


def test_links_and_exclusions_add_up():
    options = parse(
        ["cmd", "--link", "a", "b", "--link", "c", "d", "--exclude", "a", "--exclude=b"]
    )
    assert options.links == [["a", "b"], ["c", "d"]]
    assert options.excludes == ["a", "b"]


@pytest.mark.parametrize(
    ("flag", "long"), [("-0", "--null"), ("-h", "--help"), ("--quote", "--quote")]
)
def test_flags(flag, long):
    assert parse(["cmd", "-p", "a", "1", flag]).has(long)


@pytest.mark.parametrize("seed", ["-3", "0", str(10**30)])
def test_any_whole_number_is_a_seed(seed):
    assert parse(["cmd", "--seed", seed]).seed == int(seed)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["cmd", "--n-samples", "0"], "--n-samples must be 1 or more, not 0"),
        (["cmd", "--n-samples", "-4"], "must be 1 or more, not -4"),
        (["cmd", "--n-samples", "many"], "--n-samples must be a whole number, not 'many'"),
        (["cmd", "--seed", "1.5"], "--seed must be a whole number, not '1.5'"),
        (["cmd", "--seed"], "--seed needs a value"),
        (["cmd", "-p"], "-p needs a name"),
        (["cmd", "--sampling-mode", "x"], "shuffled_grid, grid, random, sobol, not 'x'"),
        (["cmd", "--quote=yes"], "--quote takes no value"),
        (["cmd", "two"], "unexpected 'two' after the command 'cmd'"),
        (["--lr", "cmd"], "unknown option '--lr'"),
        (["-plr", "1"], "unknown option '-plr' (a space comes after -p)"),
    ],
)
def test_errors(argv, message):
    with pytest.raises(UsageError) as raised:
        parse(argv)
    assert message in str(raised.value)
