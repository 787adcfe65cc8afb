"""Completion for bash: a script that needs no other file, not even bash-completion."""

from __future__ import annotations

from collections.abc import Sequence

from simple_gpu_scheduler.cli.completion.spec import Command, Value, flags_of

_SCRIPT = r"""# Completion of sgs for bash; made by `sgs completion bash`.

_sgs_takes() {  # COMMAND: its options, and what else it takes
    options= operand=
    case $1 in
@COMMANDS@
    esac
}

_sgs_value() {  # COMMAND OPTION: what its value may be; 1 if it takes none
    case "$1 $2" in
@VALUES@
    *) return 1 ;;
    esac
}

_sgs_quoted() {  # VALUE: sets `quoted`, as it is to stand in the word; 1 if it can't
    local one
    quoted=$1
    case $quote in
    \') [[ $1 != *\'* ]] ;;
    \") [[ $1 != *[\"!]* ]] && for one in \\ '$' '`'; do quoted=${quoted//"$one"/"\\$one"}; done ;;
    *) printf -v quoted %q "$1" ;;
    esac
}

_sgs_is_mixed() {  # whether the word is quoted in several ways, or is to be computed
    local plain=$begun
    [[ $quote != \' ]] && plain=${begun//\\?/}
    case $quote in
    \') [[ $plain == *\'* ]] ;;
    \") [[ $plain == *[\"\$\`]* ]] ;;
    *) [[ $plain == *[\"\'\$\`]* ]] ;;
    esac
}

_sgs_add() {  # lines VALUE<tab>DESCRIPTION: those that begin like the word are candidates
    local value about quoted full found=() abouts=() number
    [[ $begun ]] && _sgs_is_mixed && return
    while IFS=$'\t' read -r value about; do
        [[ $value ]] && _sgs_quoted "$value" || continue
        [[ $value == "$begun"* || $quoted == "$begun"* ]] || continue
        full=$before$quoted
        found+=("${full#"$broken"}")
        abouts+=("$about")
    done
    # Descriptions where candidates are only listed: they are no part of what is inserted.
    if ((${#found[@]} > 1)) && [[ $COMP_TYPE == 63 || $COMP_TYPE == 33 || $COMP_TYPE == 64 ]]; then
        for number in "${!found[@]}"; do
            [[ ${abouts[number]} ]] && found[number]+="  (${abouts[number]})"
        done
    fi
    COMPREPLY+=("${found[@]}")
}

_sgs_kind() {  # KIND: candidates of that kind
    case $1 in
    jobs | gpus)
        if [[ $begun == *,* ]]; then
            before=${begun%,*}, begun=${begun##*,}
        fi
        _sgs_add < <(command sgs completion "$1" "$command" 2> /dev/null)
        ;;
    groups | names) _sgs_add < <(command sgs completion "$1" 2> /dev/null) ;;
    files) _sgs_files -f ;;
    folders) _sgs_files -d ;;
    =*) _sgs_add < <(printf '%s\n' ${1#=}) ;;
    esac
}

_sgs_files() {  # what `compgen` is to look for
    compopt -o filenames 2> /dev/null
    mapfile -t COMPREPLY < <(compgen "$@" -- "$cur")
}

_sgs() {
    local words=() word cur prev command first=1 options operand kind before= begun broken quote=
    COMPREPLY=()
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do  # bash has broken them at = and :
        if ((${#words[@]} > 1)) && [[ $word == [=:]* || ${words[-1]} == *[=:] ]]; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
    done
    cur=${words[-1]}
    unset 'words[-1]'
    prev=${words[-1]}
    case ${words[0]##*/} in
    simple_gpu_scheduler) command=run first=0 ;;
    simple_hypersearch) command=search first=0 ;;
    *) command=${words[1]} ;;
    esac
    for word in "${words[@]:first+1}"; do
        if [[ $word == -- ]]; then
            [[ $prev == -- ]] && _sgs_files -c || _sgs_files -f
            return
        fi
    done
    if [[ $cur == --*=* ]]; then
        prev=${cur%%=*} cur=${cur#*=}
    fi
    begun=$cur broken=${cur%"${cur##*[=:]}"}
    if [[ $cur == [\"\']* ]]; then  # readline's word begins after it
        quote=${cur:0:1} begun=${cur:1} broken=
    fi
    if [[ ! $command ]]; then
        _sgs_add <<'END'
@NAMES@
END
        return
    fi
    _sgs_takes "$command"
    if kind=$(_sgs_value "$command" "$prev"); then
        _sgs_kind "$kind"
    elif [[ $cur == -* || ! $operand ]]; then
        _sgs_add < <(printf '%s\n' $options)
    else
        _sgs_kind "$operand"
    fi
}

complete -F _sgs sgs simple_gpu_scheduler simple_hypersearch
"""


def script(commands: Sequence[Command]) -> str:
    """Return the whole script."""
    parts = {
        "@COMMANDS@": "\n".join(_takes(command) for command in commands),
        "@VALUES@": "\n".join(line for command in commands for line in _values(command)),
        "@NAMES@": "\n".join(f"{command.name}\t{command.help}" for command in commands),
    }
    text = _SCRIPT
    for mark, part in parts.items():
        text = text.replace(mark, part)
    return text


def _takes(command: Command) -> str:
    options = " ".join(flags_of(command.options))
    operand = _kind(command.operand) if command.operand else ""
    return f"    {command.name}) options='{options}' operand='{operand}' ;;"


def _values(command: Command) -> list[str]:
    lines = []
    for option in command.options:
        if option.value is not None:
            cases = " | ".join(f"'{command.name} {flag}'" for flag in option.flags)
            lines.append(f"    {cases}) echo '{_kind(option.value)}' ;;")
    return lines


def _kind(value: Value) -> str:
    return "=" + " ".join(value.words) if value.words else value.kind
