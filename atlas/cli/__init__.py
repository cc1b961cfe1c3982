"""The command line. One module per verb; nothing slow is imported before a verb runs.

Exit codes: 0 done (for verify: VALID), 1 INVALID, 2 usage, 3 UNTRUSTED, 4 something is missing, 5 MALFORMED or LIMIT,
6 could not be done or checked, 130 interrupted, 141 nobody read the output. An error in Atlas itself is a 6, never a
0 or a 1: those two are verdicts.
"""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
import traceback
from collections.abc import Sequence

from atlas.cli import (
    attest,
    bundle,
    completion,
    diff,
    digest,
    doctor,
    find,
    inspect,
    keygen,
    lineage,
    log,
    sign,
    verify,
)
from atlas.cli.console import INTERRUPTED, PIPE_CLOSED, USAGE, Console, exit_code_of
from atlas.escape import escape
from atlas.version import __version__

VERBS = (keygen, sign, verify, inspect, lineage, find, bundle, digest, diff, attest, log, doctor, completion)

_EPILOG = """\
start here:
  atlas keygen --name "Alice" keys/               a development key and its root
  atlas sign model.pt --key keys/key.pem          writes model.pt.c2pa beside it
  atlas verify model.pt --trust keys/root.pem     checks the model and the chain behind it

`atlas VERB --help` explains a verb. Exit codes of verify: 0 VALID, 1 INVALID, 2 usage, 3 UNTRUSTED, 4 INCOMPLETE,
5 MALFORMED or LIMIT, 6 could not check.
"""


class _Help(argparse.RawDescriptionHelpFormatter):
    """Sentences are as wide as the terminal, tables stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = text.strip("\n").split("\n\n")
        return "\n\n".join(b if "  " in b else textwrap.fill(" ".join(b.split()), width) for b in blocks)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="atlas",
        description="Verifiable provenance for models and data: who made this file, from what, and is it unchanged?",
        epilog=_EPILOG,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"atlas {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for module in VERBS:
        name = module.__name__.rpartition(".")[2]
        verb = verbs.add_parser(
            name,
            help=module.HELP,
            description=module.__doc__,
            formatter_class=_Help,
            allow_abbrev=False,
        )
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
    return parser


def _parser_of(parser: argparse.ArgumentParser, args: argparse.Namespace) -> argparse.ArgumentParser | None:
    """Of the verb: its usage helps, that of all verbs does not."""
    for group in parser._actions:
        if isinstance(group, argparse._SubParsersAction):
            chosen: argparse.ArgumentParser | None = group.choices.get(getattr(args, group.dest, None) or "")
            return chosen and (_parser_of(chosen, args) or chosen)
    return None


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        wrong = f"unrecognized arguments: {' '.join(unknown)}"
        (_parser_of(parser, args) or parser).error(escape(wrong))
    if args.verb is None:
        parser.print_help(sys.stderr)
        return USAGE
    console = Console(json=getattr(args, "json", False), verb=args.verb)
    try:
        code: int = args.run(args, console)
        console.flush()
        return code
    except KeyboardInterrupt:
        console.note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at its end
        return PIPE_CLOSED
    except Exception as error:
        if os.environ.get("ATLAS_DEBUG"):
            traceback.print_exc()
        console.fail(error)
        return exit_code_of(error)
