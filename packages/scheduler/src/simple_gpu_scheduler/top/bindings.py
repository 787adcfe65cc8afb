"""The one list of keys. Textual's bindings and footer, the help and `--key` all use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from textual.app import App
from textual.binding import ActiveBinding, Binding
from textual.keys import Keys, key_to_character

from simple_gpu_scheduler.errors import UsageError

#: `description` is the label in the footer, `tooltip` is the line in the help, and `id` is the
#: ACTION of `--key`. A narrow footer leaves out the last keys, but never help and quit.
BINDINGS = (
    Binding("up,k", "move(-1)", show=False, tooltip="select a job", id="up"),
    Binding("down,j", "move(1)", show=False, tooltip="select a job", id="down"),
    Binding("pageup", "page(-1)", show=False, tooltip="one screen up or down", id="page-up"),
    Binding("pagedown", "page(1)", show=False, tooltip="one screen up or down", id="page-down"),
    Binding("home", "jump(0)", show=False, tooltip="the first job, the last job", id="first"),
    Binding("end", "jump(1)", show=False, tooltip="the first job, the last job", id="last"),
    Binding("left", "shift(-8)", show=False, tooltip="scroll long commands", id="left"),
    Binding("right", "shift(8)", show=False, tooltip="scroll long commands", id="right"),
    Binding("c", "cancel", "cancel", id="cancel",
            tooltip="cancel the job, running or not; asks first"),
    Binding("h", "hold", "hold", id="hold",
            tooltip="hold the job, so that it does not start; release a held job"),
    Binding("h", "release", "release", id="hold",
            tooltip="hold the job, so that it does not start; release a held job"),
    Binding("plus,equals_sign", "priority(1)", "prio", key_display="+-", id="raise",
            tooltip="raise or lower the priority of a queued job"),
    Binding("minus,underscore", "priority(-1)", show=False, id="lower",
            tooltip="raise or lower the priority of a queued job"),
    Binding("r", "retry", "retry", id="retry",
            tooltip="queue a failed, cancelled or lost job again"),
    Binding("a", "view", "view", id="view",
            tooltip="show all jobs, only open jobs, only ended jobs"),
    Binding("slash", "filter", "filter", id="filter",
            tooltip="show only jobs that match all words"),
    Binding("l,enter", "log", "log", id="log", tooltip="show the log on the whole screen"),
    Binding("i", "info", "info", id="info", tooltip="show all facts about the job"),
    Binding("space", "mark", "mark", id="mark",
            tooltip="mark the job; c h + - r then act on all marked jobs"),
    Binding("g", "gpus", "GPUs", id="gpus", tooltip="show the table of sgs gpus"),
    Binding("u", "unmark", show=False, id="unmark", tooltip="remove all marks"),
    Binding("escape", "clear_filter", show=False, id="clear-filter", tooltip="remove the filter"),
    Binding("ctrl+l", "redraw", show=False, id="redraw"),
    Binding("question_mark,f1", "help", "help", id="help", tooltip="show this list"),
    Binding("q", "quit", "quit", id="quit", tooltip="quit; jobs continue to run"),
)  # fmt: skip


def help_rows(app: App[None], active: Iterable[ActiveBinding]) -> list[tuple[str, str]]:
    """The rows of the help: keys as Textual displays them, and what they do."""
    rows: dict[str, list[str]] = {binding.tooltip: [] for binding in BINDINGS if binding.tooltip}
    for _, binding, _, _ in active:
        if binding.tooltip in rows:
            without_display = binding.with_key(binding.key)  # `key_display` is for the footer
            rows[binding.tooltip].append(app.get_key_display(without_display))
    return [(" ".join(keys), tooltip) for tooltip, keys in rows.items()]


def parse_keymap(options: Sequence[str]) -> dict[str, str]:
    """Parse the values of `--key`, such as `hold=x` or `cancel=delete,C`, into Textual's keymap.

    Raises:
        UsageError: an action or a key is unknown, or a key would have two actions.
    """
    keymap = dict(_parse_option(option) for option in options)
    _check_clashes(keymap)
    return keymap


def _parse_option(option: str) -> tuple[str, str]:
    action, equals, keys = option.partition("=")
    names = list(dict.fromkeys(binding.id for binding in BINDINGS if binding.id))
    if not equals or action not in names:
        raise UsageError(f"--key {option}: expected ACTION=KEY with one of {', '.join(names)}")
    for key in keys.split(","):
        if not _is_key(key):
            raise UsageError(
                f"--key {option}: expected keys as Textual names them, such as x, X, f2, delete "
                "or ctrl+x, with commas between them"
            )
    return action, keys


def _is_key(key: str) -> bool:
    names = {named_key.value for named_key in Keys}
    return len(key) == 1 or key in names or bool(key_to_character(key))


def _check_clashes(keymap: Mapping[str, str]) -> None:
    owners: dict[str, str] = {}
    for binding in Binding.make_bindings(
        Binding(keymap.get(binding.id or "", binding.key), binding.action, id=binding.id)
        for binding in BINDINGS
    ):
        owner = owners.setdefault(binding.key, binding.id or "")
        if owner != binding.id:
            raise UsageError(
                f"--key: {binding.key} would be the key of {owner} and of {binding.id}: give one "
                "of them another key"
            )
