"""Completion for zsh: a script that calls `_arguments`, which shows the help of options."""

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
    single_quoted,
)

_SCRIPT = r"""#compdef sgs simple_gpu_scheduler simple_hypersearch
# Completion of sgs for zsh; made by `sgs completion zsh`.

_sgs_list() {  # WHAT KIND [COMMAND]: candidates with descriptions, after a comma or not
    local what=$1 line value
    local -a found
    shift
    [[ $1 == (jobs|gpus) ]] && compset -P '*,'
    for line in ${(f)"$(command sgs completion "$@" 2> /dev/null)"}; do
        value=${line%%$'\t'*}
        value=${value//\\/\\\\}
        found+=("${value//:/\\:}:${line#*$'\t'}")
    done
    _describe -V -t "$1" "$what" found
}

_sgs_command() {  # what the command after -- could go on with
    local -A opt_args
    if [[ $words[1] == -- ]]; then
        shift words
        ((CURRENT--))
    fi
    _normal
}

_sgs() {
    local command=$words[2]
    local -a known
    case $service in
    simple_gpu_scheduler) command=run ;;
    simple_hypersearch) command=search ;;
    *)
        if ((CURRENT == 2)); then
            known=(
@NAMES@
            )
            _describe -t commands command known
            return
        fi
        shift words
        ((CURRENT--))
        ;;
    esac
    case $command in
@COMMANDS@
    esac
}

if [[ $funcstack[1] == _sgs ]]; then
    _sgs "$@"
else
    compdef _sgs sgs simple_gpu_scheduler simple_hypersearch
fi
"""

#: What zsh calls for a kind. After a blank it calls a function without arguments for `compadd`.
_ACTIONS = {
    GROUPS: " _sgs_list group groups",
    NAMES: " _sgs_list name names",
    GPUS: " _sgs_list GPU gpus",
    FILES: "_files",
    FOLDERS: "_files -/",
}
_ESCAPED = (("\\", "\\\\"), ("[", "\\["), ("]", "\\]"), (":", "\\:"))


def script(commands: Sequence[Command]) -> str:
    """Return the whole script."""
    names = [" " * 16 + single_quoted(f"{command.name}:{command.help}") for command in commands]
    cases = "\n".join(line for command in commands for line in _case(command))
    return _SCRIPT.replace("@NAMES@", "\n".join(names)).replace("@COMMANDS@", cases)


def _case(command: Command) -> Iterator[str]:
    specs = [spec for option in command.options for spec in _specs(command, option)]
    operand = command.operand
    if operand is not None and operand.kind == COMMAND:
        specs += ["'(-)1:command:_command_names -e'", "'*::argument: _sgs_command'"]
    elif operand is not None and (action := _action(command, operand)):
        specs.append(f"'*:{'job' if operand.kind == JOBS else 'what'}:{action}'")
    yield f"    {command.name})"
    yield " \\\n            ".join(["        _arguments -S", *specs])
    yield "        ;;"


def _specs(command: Command, option: Option) -> Iterator[str]:
    """Yield `'(-f --follow)--follow[keep printing]'` for each flag of the option."""
    others = f"({' '.join(option.flags)})" if len(option.flags) > 1 else ""
    for flag in option.flags:
        text = f"[{_escaped(option.help)}]" if option.help else ""
        before = "*" if option.again else others
        value = ""
        if option.value is not None:
            action = _action(command, option.value) or " "
            value = f":{flag.lstrip('-')}:{action}"
        equals = "=" if value and flag.startswith("--") else ""
        yield single_quoted(f"{before}{flag}{equals}{text}{value}")


def _action(command: Command, value: Value) -> str:
    if value.words:
        return f"({' '.join(value.words)})"
    if value.kind == JOBS:
        return f" _sgs_list job jobs {command.name}"
    return _ACTIONS.get(value.kind, "")


def _escaped(text: str) -> str:
    for old, new in _ESCAPED:
        text = text.replace(old, new)
    return text
