"""Completion for fish: a script of `complete` commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from simple_gpu_scheduler.cli.completion.spec import (
    COMMAND,
    FILES,
    FOLDERS,
    GPUS,
    GROUPS,
    JOBS,
    NAMES,
    Command,
    Option,
    Value,
)

_HEAD = r"""# Completion of sgs for fish; made by `sgs completion fish`.

function __sgs_begins
    test (count (commandline -opc)) -eq 1
end

function __sgs_is # COMMAND: whether it is that one
    set -l words (commandline -opc)
    test (count $words) -gt 1; and test "$words[2]" = $argv[1]
end

function __sgs_list # KIND [COMMAND]: candidates with descriptions
    command sgs completion $argv 2>/dev/null
end

function __sgs_several # KIND [COMMAND]: the same, after a comma or not
    set -l before (string match -r -- '^.*,' (commandline -ct))
    __sgs_list $argv | string replace -r '^' -- "$before"
end

function __sgs_after_dashes
    contains -- -- (commandline -opc)
end

function __sgs_command # what the command after -- could go on with
    set -l words (commandline -opc)
    set -l rest $words[(math (contains -i -- -- $words) + 1)..-1]
    complete -C (string join ' ' -- (string escape -- $rest) (commandline -ct))
end

complete -c sgs -f
complete -c simple_gpu_scheduler -f -w 'sgs run'
complete -c simple_hypersearch -f -w 'sgs search'
"""

_LISTS = {
    JOBS: "__sgs_several jobs",
    GPUS: "__sgs_several gpus",
    GROUPS: "__sgs_list groups",
    NAMES: "__sgs_list names",
    FOLDERS: "__fish_complete_directories (commandline -ct)",
}


def script(commands: Sequence[Command]) -> str:
    """Return the whole script."""
    names = [
        f"complete -c sgs -n __sgs_begins -a {command.name} -d {_quoted(command.help)}"
        for command in commands
    ]
    lines = [line for command in commands for line in _lines(command)]
    return "\n".join([_HEAD, *names, "", *lines, ""])


def _lines(command: Command) -> Iterator[str]:
    begin = f"complete -c sgs -n '__sgs_is {command.name}'"
    for option in command.options:
        yield f"{begin} {_option(command, option)}"
    operand = command.operand
    if operand is None:
        return
    if operand.kind == COMMAND:
        condition = f"'__sgs_is {command.name}; and __sgs_after_dashes'"
        yield f"complete -c sgs -n {condition} -a '(__sgs_command)'"
    elif operand.kind == FILES:
        yield f"{begin} -F"
    elif values := _values(command, operand):
        yield f"{begin} -k -a {values}"


def _option(command: Command, option: Option) -> str:
    parts = [_flag(flag) for flag in option.flags]
    if option.value is not None:
        parts.append("-r -F" if option.value.kind == FILES else "-x")
        if values := _values(command, option.value):
            parts.append(f"-k -a {values}" if option.value.kind == JOBS else f"-a {values}")
    return " ".join([*parts, *([f"-d {_quoted(option.help)}"] if option.help else [])])


def _flag(flag: str) -> str:
    return f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"


def _values(command: Command, value: Value) -> str:
    if value.words:
        return _quoted(" ".join(value.words))
    call = _LISTS.get(value.kind, "")
    return f"'({call}{f' {command.name}' if value.kind == JOBS else ''})'" if call else ""


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
