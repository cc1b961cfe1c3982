"""Print a completion script for your shell.

bash:  eval "$(atlas completion bash)"            (in ~/.bashrc)
zsh:   eval "$(atlas completion zsh)"             (in ~/.zshrc, after compinit)
fish:  atlas completion fish | source             (in ~/.config/fish/config.fish)
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas.cli.console import Console

HELP = "print a completion script for bash, zsh or fish"
_DIRECTORIES = ("DIR",)
_FREE_TEXT = ("NAME", "NAME|SPKI", "ROLE", "TIME", "URL", "N")


@dataclass(frozen=True, slots=True)
class _Option:
    names: tuple[str, ...]
    help: str
    takes: str  # "" nothing, "words", "directory", "text", "file"
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Verb:
    """A verb, or an action of one: then the name is "log add"."""

    name: str
    help: str
    options: tuple[_Option, ...]
    positionals: tuple[_Option, ...]
    actions: tuple[_Verb, ...] = ()

    @property
    def last(self) -> str:
        return self.name.rpartition(" ")[2]

    def all(self) -> Iterator[_Verb]:
        yield self
        for action in self.actions:
            yield from action.all()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="your shell")


def _option(action: argparse.Action) -> _Option:
    names, text = tuple(action.option_strings), action.help or ""
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    if names and action.nargs == 0:
        return _Option(names, text, "")
    if action.choices:
        return _Option(names, text, "words", tuple(str(choice) for choice in action.choices))
    takes = "directory" if metavar in _DIRECTORIES else "text" if metavar in _FREE_TEXT else "file"
    return _Option(names, text, takes)


def _verbs(parser: argparse.ArgumentParser, before: str = "") -> Iterator[_Verb]:
    for group in parser._actions:
        if not isinstance(group, argparse._SubParsersAction):
            continue
        summaries = {choice.dest: choice.help or "" for choice in group._choices_actions}
        for name, verb in group.choices.items():
            actions = [_option(action) for action in verb._actions]
            options = tuple(option for option in actions if option.names)
            positionals = tuple(option for option in actions if not option.names)
            path = f"{before} {name}".strip()
            yield _Verb(path, summaries[name], options, positionals, tuple(_verbs(verb, path)))


def _groups(verbs: list[_Verb]) -> list[str]:
    """Where another word may still say what is meant."""
    return [verb.name for top in verbs for verb in top.all() if verb.actions]


def _flat(text: str) -> str:
    """Help texts go into single-quoted shell strings; these characters mean something there or to _arguments."""
    return re.sub(r"['\\`]", "", text).translate(str.maketrans("[]:", "(),"))


# ------------------------------------------------------------------------------------------------------- bash

_BASH = """\
_atlas() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} verb= i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${{COMP_WORDS[i]}} == -* ]] && continue
        case "$verb" in
            ''|{groups}) verb="${{verb:+$verb }}${{COMP_WORDS[i]}}" ;;
            *) break ;;
        esac
    done
    case "$verb $prev" in
{values}
    esac
    case "$verb" in
        '') COMPREPLY=($(compgen -W '{verbs} --help --version' -- "$cur")) ;;
{options}
    esac
}}
complete -o bashdefault -o default -F _atlas atlas
"""


def _bash(verbs: list[_Verb]) -> str:
    values, options = [], []
    for verb in (verb for top in verbs for verb in top.all()):
        for option in verb.options:
            patterns = "|".join(f"'{verb.name} {name}'" for name in option.names)
            if option.takes == "words":
                values.append(
                    f"""        {patterns}) COMPREPLY=($(compgen -W '{" ".join(option.words)}' -- "$cur")); return ;;"""
                )
            elif option.takes == "directory":
                values.append(
                    f"""        {patterns}) compopt -o filenames; COMPREPLY=($(compgen -d -- "$cur")); return ;;"""
                )
            elif option.takes:
                values.append(f"        {patterns}) return ;;")
        names = " ".join(name for option in verb.options for name in option.names)
        words = " ".join(word for positional in verb.positionals for word in positional.words)
        plain = f"""; [[ $cur == -* ]] || COMPREPLY=($(compgen -W '{words}' -- "$cur"))""" if words else ""
        options.append(
            f"""        '{verb.name}') [[ $cur == -* ]] && COMPREPLY=($(compgen -W '{names}' -- "$cur")){plain} ;;"""
        )
    return _BASH.format(
        values="\n".join(values),
        verbs=" ".join(verb.name for verb in verbs),
        options="\n".join(options),
        groups="|".join(f"'{name}'" for name in _groups(verbs)),
    )


# -------------------------------------------------------------------------------------------------------- zsh

_ZSH = """\
#compdef atlas
_atlas() {{
    local curcontext=$curcontext state line
    local -a verbs
    verbs=(
{verbs}
    )
    _arguments -C '(- *)--version[show the version]' '(- *)--help[show help]' '1: :->verb' '*:: :->rest'
    case $state in
        verb) _describe verb verbs ;;
        rest)
            case $words[1] in
{cases}
            esac ;;
    esac
}}
compdef _atlas atlas
"""


def _zsh_value(option: _Option) -> str:
    if option.takes == "words":
        return f"({' '.join(option.words)})"
    return {"directory": "_files -/", "text": " ", "file": "_files"}[option.takes]


def _zsh_cases(verbs: Iterable[_Verb]) -> str:
    """The arms for these verbs. An action is treated as the command that it is, one word further."""
    cases = []
    for verb in verbs:
        specs = []
        for option in verb.options:
            for name in option.names:
                value = f":value:{_zsh_value(option)}" if option.takes else ""
                specs.append(f"'*{name}[{_flat(option.help)}]{value}'")
        specs += [f"'{number}:argument:{_zsh_value(p)}'" for number, p in enumerate(verb.positionals, 1)]
        own = f"_arguments {' '.join(specs)}"
        if verb.actions:
            arms = _zsh_cases(verb.actions)
            deeper = f"shift words; (( CURRENT-- )); case $words[1] in\n{arms}\n                esac"
            own = f"if (( CURRENT > 2 )); then {deeper}; else {own}; fi"
        cases.append(f"                {verb.last}) {own} ;;")
    return "\n".join(cases)


def _zsh(verbs: list[_Verb]) -> str:
    lines = "\n".join(f"        '{verb.name}:{_flat(verb.help)}'" for verb in verbs)
    return _ZSH.format(verbs=lines, cases=_zsh_cases(verbs))


# ------------------------------------------------------------------------------------------------------- fish


_FISH = """\
function __fish_atlas_is
    set -l verb ''
    for word in (commandline -opc)[2..-1]
        string match -q -- '-*' $word; and continue
        switch $verb
            case '' GROUPS
                set verb (string trim -- "$verb $word")
            case '*'
                break
        end
    end
    test "$verb" = "$argv[1]"
end
"""


def _fish(verbs: list[_Verb]) -> str:
    groups = " ".join(f"'{name}'" for name in _groups(verbs))
    lines = [_FISH.replace("GROUPS", groups)]
    lines.append("complete -c atlas -n __fish_use_subcommand -f -l version -d 'show the version'")
    for verb in verbs:
        lines.append(f"complete -c atlas -n __fish_use_subcommand -f -a {verb.name} -d '{_flat(verb.help)}'")
    for verb in (verb for top in verbs for verb in top.all()):
        seen = f"-n '__fish_atlas_is \"{verb.name}\"'"
        for option in verb.options:
            names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names)
            takes = {
                "": "",
                "words": f" -x -a '{' '.join(option.words)}'",
                "directory": " -x -a '(__fish_complete_directories)'",
                "text": " -x",
                "file": " -r -F",
            }[option.takes]
            lines.append(f"complete -c atlas {seen} {names}{takes} -d '{_flat(option.help)}'")
        for positional in verb.positionals:
            if positional.words:
                lines.append(f"complete -c atlas {seen} -f -a '{' '.join(positional.words)}'")
    return "\n".join(lines) + "\n"


def run(args: argparse.Namespace, console: Console) -> int:
    from atlas.cli import build_parser

    script = {"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell](list(_verbs(build_parser())))
    console.result(script.rstrip("\n"))
    return 0
