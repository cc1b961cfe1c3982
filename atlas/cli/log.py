"""Transparency logs: make one, watch them, copy them, serve them, cosign them.

  atlas log init DIR --origin NAME                 make a log in a new folder
  atlas log add ARTIFACT --log DIR | --url URL     log the signature of an artifact's manifest
  atlas log verify ARTIFACT [--log DIR]            is it logged?
  atlas log bundle FILE                            is the entry of a sigstore bundle in its log?
  atlas log pending | flush                        signatures that are not logged yet; log them now
  atlas log checkpoint DIR                         print its newest signed checkpoint
  atlas log prove DIR INDEX|LEAF                   prove that an entry is in it
  atlas log check DIR                              read and hash everything in it
  atlas log monitor LOG --state DIR --log VKEY     look at a log from outside; alerts end with exit code 1
  atlas log sync SRC DST --log VKEY                copy a log's static files outward
  atlas log equivocation FILE --log VKEY           check a report that a log has two histories
  atlas log witness DIR --key FILE --log VKEY      cosign checkpoints of logs that only grow
  atlas log serve DIR                              serve a log's files over HTTP

LOG and SRC are a URL or a folder. The log's verifier key comes from its operator, never from where the log is.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from atlas.cli.log_entry import add_entry_actions, is_entry, run_entry
from atlas.cli.log_local import add_local_actions, is_local, run_local
from atlas.cli.log_remote import add_remote_actions, run_remote

if TYPE_CHECKING:
    from atlas.cli.console import Console

HELP = "make, watch, copy, serve and cosign transparency logs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    add_local_actions(actions)
    add_entry_actions(actions)
    add_remote_actions(actions)


def run(args: argparse.Namespace, console: Console) -> int:
    if is_entry(args.action):
        return run_entry(args, console)
    return run_local(args, console) if is_local(args.action) else run_remote(args, console)
