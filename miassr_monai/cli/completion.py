"""``miassr completion``: a script for the shell."""

from __future__ import annotations

import argparse

__all__ = ["add_parser"]

COMPLETION = {
    "bash": """_miassr() {
    local word=${COMP_WORDS[COMP_CWORD]}
    if [ "$COMP_CWORD" -eq 1 ]; then COMPREPLY=($(compgen -W "%(commands)s" -- "$word"))
    elif [ "${word:0:1}" = - ]; then COMPREPLY=($(compgen -W "%(options)s" -- "$word"))
    else COMPREPLY=($(compgen -f -- "$word")); fi
}
complete -o filenames -F _miassr miassr
""",
    "zsh": """#compdef miassr
_miassr() {
    if (( CURRENT == 2 )); then compadd %(commands)s
    elif [[ $words[CURRENT] == -* ]]; then compadd -- %(options)s
    else _files; fi
}
compdef _miassr miassr
""",
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("completion", help="print a script for the shell's completion")
    parser.add_argument("shell", choices=sorted(COMPLETION))
    parser.set_defaults(run=lambda args: run(args, commands))


def run(args: argparse.Namespace, commands: argparse._SubParsersAction) -> int:
    """``miassr completion``: a script for the shell."""
    actions = (action for command in commands.choices.values() for action in command._actions)
    options = " ".join(sorted({option for action in actions for option in action.option_strings}))
    print(COMPLETION[args.shell] % {"commands": " ".join(commands.choices), "options": options}, end="")
    return 0
