"""``miassr completion``: a script for the shell."""

from __future__ import annotations

import argparse

from miassr_monai.bundle import INTERPOLATIONS, UNTRAINED, built_in_models

__all__ = ["add_parser"]

# What none of the words completes is left to the shell, which knows files, and how to quote blanks in their names.
SCRIPTS = {
    "bash": """_miassr() {
    local word=${COMP_WORDS[COMP_CWORD]} words=
    if [ "$COMP_CWORD" -eq 1 ]; then words="%(commands)s"
    else case "${COMP_WORDS[1]} ${COMP_WORDS[COMP_CWORD-1]}" in
%(values)s
        *) case "${COMP_WORDS[1]} $word" in
%(options)s
        esac
    esac; fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _miassr miassr
""",
    "zsh": """#compdef miassr
_miassr() {
    local known=
    if (( CURRENT == 2 )); then known="%(commands)s"
    else case "$words[2] $words[CURRENT-1]" in
%(values)s
        *) case "$words[2] $words[CURRENT]" in
%(options)s
        esac
    esac; fi
    compadd -- ${=known} || _files
}
compdef _miassr miassr
""",
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("completion", help="print a script for the shell's completion")
    parser.add_argument("shell", choices=sorted(SCRIPTS))
    parser.set_defaults(run=lambda args: run(args, commands))


def run(args: argparse.Namespace, commands: argparse._SubParsersAction) -> int:
    """``miassr completion``: a script for the shell."""
    variable = {"bash": "words", "zsh": "known"}[args.shell]
    values, options = [], []
    for name, command in commands.choices.items():
        for action in command._actions:
            if words := values_of(action):
                # A command's own name stands before its first argument.
                for before in action.option_strings or [name]:
                    values.append(f'        "{name} {before}") {variable}="{" ".join(words)}" ;;')
        known = sorted({option for action in command._actions for option in action.option_strings})
        options.append(f'            "{name} -"*) {variable}="{" ".join(known)}" ;;')
    parts = {"commands": " ".join(commands.choices), "values": "\n".join(values), "options": "\n".join(options)}
    print(SCRIPTS[args.shell] % parts, end="")
    return 0


def values_of(action: argparse.Action) -> list[str]:
    """The words that an argument can be."""
    if action.dest == "model" and action.metavar == "PATH":
        return [*built_in_models(), *INTERPOLATIONS, UNTRAINED]
    if action.dest == "model" and action.metavar == "NAME=PATH":
        return [f"{name}={name}" for name in built_in_models()]
    return [str(choice) for choice in action.choices or ()]
