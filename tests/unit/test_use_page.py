"""docs/use.md says what is there: verbs, policy keys, marker arguments, fixtures."""

import argparse
import inspect
import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from atlas import init, pytest_plugin
from atlas.cli import VERBS, build_parser
from atlas.policy import Policy, load_policy
from atlas.provenance import Item, Provenance
from atlas.record.settings import _PROJECT_KEYS

SOURCES = Path(__file__).parents[2]
PAGE = (SOURCES / "docs" / "use.md").read_text(encoding="utf-8")
ROOT = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"


def names(cell: str) -> set[str]:
    return set(re.findall(r"\.(\w+)", cell))


def test_the_table_of_verbs_is_complete_and_in_order() -> None:
    listed = re.findall(r"^\| `(\w+)` \| ", PAGE, re.MULTILINE)
    assert listed[: len(VERBS)] == [module.__name__.rpartition(".")[2] for module in VERBS]


def test_the_policy_of_the_page_is_read_and_shows_every_key(tmp_path: Path) -> None:
    text = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert text is not None
    for name in ("roots.pem", "tsa.pem", "revoked.crl", "appraisal.json", "bundle.json", "test-root.pem", "log.policy"):
        (tmp_path / name).write_text(ROOT)
    (tmp_path / "policy.json").write_text(text[1])
    policy = load_policy(tmp_path / "policy.json")
    assert policy.signers == ("Alice", "Bob")
    assert policy.refuse_unknown_inputs
    assert set(json.loads(text[1])) == {field.name for field in fields(Policy)} - {"origin"} | {"version"}


def test_the_marker_and_its_fixtures_are_described_as_they_are() -> None:
    assert pytest_plugin._MARKER.partition(":")[0] in PAGE
    assert set(re.findall(r"(\w+)=", pytest_plugin._MARKER)) == set(pytest_plugin._OPTIONS)
    (row,) = re.findall(r"^\| `provenance` \| (.*)$", PAGE, re.MULTILINE)
    of_chain, of_item = row.split("an input has")
    public = {name for name, _ in inspect.getmembers(Provenance) if not name.startswith("_")} | {"verdict"}
    assert names(of_chain) == public
    assert names(of_item) <= {field.name for field in fields(Item)}


@pytest.mark.parametrize("option", sorted(set(re.findall(r"`(--[\w-]+)", PAGE)) - {"--json"}))
def test_every_option_that_the_page_names_exists(option: str) -> None:
    group = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    of_verbs = {name for verb in group.choices.values() for action in verb._actions for name in action.option_strings}
    assert option in of_verbs or f'"{option}"' in inspect.getsource(pytest_plugin)


def variables(text: str) -> set[str]:
    """Names in quotes, but for error codes and what Atlas tells its own children."""
    found = set(re.findall(r'[\'"](ATLAS_[A-Z_]+)[\'"]', text))
    return {n for n in found if not n.startswith(("ATLAS_E_", "ATLAS_COLLECT_", "ATLAS_REGISTER_"))} - {"ATLAS_ATTACH"}


def test_every_variable_that_is_read_is_described() -> None:
    files = [*(SOURCES / "atlas").rglob("*.py"), SOURCES / "csrc" / "port" / "simd" / "choose.c"]
    read = set().union(*(variables(path.read_text(encoding="utf-8")) for path in files))
    described = set(re.findall(r"`(ATLAS_[A-Z_]+)`", PAGE))
    assert {"ATLAS_KEY", "ATLAS_KERNEL", "ATLAS_LOG_TOKEN_FILE"} <= read
    assert described == read


def test_every_setting_of_a_run_is_described() -> None:
    section = PAGE.partition("## Settings of a run")[2].partition("Other variables:")[0]
    rows = [line.split("|")[1:4] for line in section.splitlines() if re.match(r"\| (`\w+`|none)", line)]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[0])} == set(inspect.signature(init).parameters)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[2])} == _PROJECT_KEYS
