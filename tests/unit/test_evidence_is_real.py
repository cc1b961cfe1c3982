"""What must not exist: imitated evidence, a verifier that can be told to look away, a generator that copies it."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
from mutate_attest import EXPECTED

from atlas import _core, attest, azure, runtime_log, tpm, tsm

ROOT = Path(__file__).parent.parent.parent
PRODUCT = [path for folder, kind in (("atlas", "*.py"), ("csrc", "*.[ch]")) for path in (ROOT / folder).rglob(kind)]
EVIDENCE = sorted(
    [*(ROOT / "csrc" / "stage").glob("attest*.[ch]")]
    + [ROOT / f"csrc/format/{n}.c" for n in ("tdx_quote", "tcb_info", "snp_report", "spdm", "ccel", "hcl_report")]
    + [ROOT / f"csrc/port/crypto/{n}.c" for n in ("pki", "pck", "tpm_key", "tpm_certificate")]
)


def without_comments(path: Path) -> str:
    return re.sub(r"/\*.*?\*/", "", path.read_text("utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("module", sorted((ROOT / "tests" / "forge_attest").glob("*.py")), ids=lambda path: path.name)
def test_the_generator_of_evidence_imports_nothing_of_atlas(module: Path) -> None:
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not any(name.split(".")[0] in ("atlas", "forge", "ctypes", "cffi") for name in names), names


def test_no_provider_of_the_product_imitates_hardware() -> None:
    words = re.compile(r"\b(mock|fake|dummy|simulat\w*|emulat\w*)", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in PRODUCT
        if "build" not in path.parts
        for match in words.finditer(path.read_text("utf-8"))
        if path in EVIDENCE or path.parent.name == "atlas" or "attest" in path.name
    ]
    assert found == []


def test_what_evidence_may_be_collected_from_is_hardware_and_nothing_else() -> None:
    assert tsm._PROVIDERS == {"tdx_guest": "tdx", "sev_guest": "snp"}
    assert set(tpm.DEVICES) == {"/dev/tpmrm0", "/dev/tpm0"}
    assert tsm.REPORTS.startswith("/sys/") and runtime_log.REGISTER.startswith("/sys/devices/")
    assert azure.METADATA.startswith("http://169.254.169.254/")


def test_the_verifier_looks_at_no_environment_and_has_no_state_of_its_own() -> None:
    """Whatever could turn a check off would have to come in by an argument; those are listed below."""
    switch = re.compile(r"\b(secure_)?getenv\b|\benviron\b|#\s*ifn?def(?!\s+ATLAS_\w+_H\b)|\bNDEBUG\b")
    for path in EVIDENCE:
        assert not switch.search(without_comments(path)), path
    reads = [
        node
        for node in ast.walk(ast.parse(Path(attest.__file__).read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    ]
    assert reads == []


def test_what_the_verifier_is_told_is_evidence_collateral_time_policy_and_what_to_compare_with() -> None:
    given = ["evidence", "collateral", "at", "policy", "report_data", "event_log", "runtime_log", "anchor", "kind"]
    assert list(inspect.signature(attest.verify).parameters) == given
    assert _core.attest_verify.__text_signature__ == (
        "($module, kind, evidence, collateral, /, *, at, policy=None, report_data=None,\n"
        "              event_log=None, runtime_log=None, anchor=None)"
    )
    request = without_comments(ROOT / "csrc" / "stage" / "attest.h")
    fields = re.search(r"struct atlas_attest_request \{(.*?)\n\};", request, re.DOTALL)
    assert fields is not None
    names = re.findall(r"[\w *]+?\b\*?(\w+);", fields[1])
    assert names == ["evidence", "collateral", "policy", "at", "report_data", "event_log", "runtime_log", "anchor"]


def test_no_rule_of_a_policy_silences_a_signature_debugging_or_an_empty_binding() -> None:
    """Rules say "reject", "warn" or "allow" of configuration; none of them is about what makes evidence genuine."""
    source = (ROOT / "csrc" / "stage" / "attest_policy.c").read_text("utf-8")
    ruled = set(re.findall(r'atlas_rule_read\(\w[\w.>-]*, "(\w+)"', source))
    assert ruled == {
        "sept_ve_enabled",
        "migratable",
        "dynamic_platform",
        "cached_keys",
        "smt",
        "runtime_log_start",
        "unchecked_revocation",
    }


def test_the_page_lists_every_check_whose_deletion_no_test_can_notice() -> None:
    page = (ROOT / "docs" / "attest-tests.md").read_text("utf-8").replace("\\|", "|")
    for place, why in EXPECTED.items():
        file, _, check = place.partition(": ")
        row = f"| `{Path(file).name}` |"
        assert any(line.startswith(row) and f"`{check}`" in line and why in line for line in page.splitlines()), place


def test_the_page_of_errors_names_every_reason_for_having_no_evidence() -> None:
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")
    assert [reason for reason in (*tsm._TEXT, *runtime_log._TEXT) if f"`{reason}`" not in page] == []
