"""Delete the evidence verifier's checks one at a time; a test must fail for each. Run it with `python`, by hand.

A mutant is one rule switched off: a row of a table of steps, the condition of an `if` that refuses, the condition of a
`return good ? ATLAS_OK : refusal`, or a predicate that says yes to everything. Prints the test that notices each, and
the survivors; exit code 1 when there is one that is not in EXPECTED with its reason. `-k TEXT` runs only mutants whose
place holds TEXT.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
STAGE = (
    "attest_steps attest_trust attest_collateral attest_tcb attest_policy attest_tdx attest_td attest_snp attest_gpu "
    "attest_tpm attest_tpm_trust attest_tpm_events attest_tpm_policy attest_azure"
)
FILES = [
    *(f"csrc/stage/{name}.c" for name in [*STAGE.split(), "attest_ccel", "attest_runtime_log", "verify_evidence"]),
    *(f"csrc/format/{name}.c" for name in ("tdx_quote", "tcb_info", "snp_report", "spdm", "ccel")),
    *(f"csrc/format/{name}.c" for name in ("tpm_attest", "tpm_evidence", "hcl_report", "attestation")),
    *(f"csrc/port/crypto/{name}.c" for name in ("pki", "pck", "tpm_key", "tpm_certificate")),
    "csrc/port/json.c",
    "csrc/port/json_scan.c",
]
ON_TDX = "tests/attacks/test_attacks_on_tdx.py"
ON_OTHERS = "tests/attacks/test_attacks_on_snp_and_gpu.py"
ON_TPM = "tests/attacks/test_attacks_on_tpm.py tests/integration/test_tpm.py"
ON_AZURE = "tests/attacks/test_attacks_on_azure.py"
ON_LOGS = "tests/attacks/test_attacks_on_runtime_logs.py"
ON_COLLATERAL = "tests/attacks/test_attacks_on_collateral.py"
ON_PIECES = "tests/attacks/test_attacks_on_pieces.py"
ON_POLICY = "tests/unit/test_attest_policy.py"
ON_MANIFESTS = "tests/attacks/test_attacks_on_evidence.py"
FIRST = {
    "verify_evidence": ON_MANIFESTS,
    "attestation": ON_MANIFESTS,
    "runtime_log": ON_LOGS,
    "tpm": ON_TPM,
    "azure": ON_AZURE,
    "hcl": ON_AZURE,
    "snp": ON_OTHERS,
    "gpu": ON_OTHERS,
    "spdm": ON_OTHERS,
    "ccel": ON_OTHERS,
    "policy": ON_POLICY,
    "json": ON_POLICY,
}
REFUSAL = r"(?:atlas_report|fail|atlas_error_set|atlas_error_at|atlas_ossl_fail|mismatch|refuse|bad|malformed)\("
ROW = re.compile(r'^    \{"[a-z]+\.[a-z_0-9]+", ATLAS_GROUP_[A-Z]+, \w+\},\n', re.MULTILINE)
BRANCH = re.compile(rf"\bif \(((?:[^;{{}}])*?)\) \{{\s+(?:return (?:\w[^;?]*? \? )?|ATLAS_TRY\(\s*|rc = )?{REFUSAL}")
TERNARY = re.compile(rf"return ((?:[^;{{}}?])+?)\s*\? ATLAS_OK\s*:\s*{REFUSAL}")
FALSE = re.compile(r"\b(?:if \((?P<if>(?:[^;{}])*?)\) \{\s+return false;)")

PREDICATE = re.compile(
    r"^(?:static )?bool \w+\([^{};]*\)\n\{\n(?:(?!^\}).)*?^    return ([^;?]*[=<>&|(][^;?]*);\n\}",
    re.MULTILINE | re.DOTALL,
)

# Mutants that no test can notice, and why. The key is the place as it is printed, without the line number.
WHOLE = "what collateral and quotes bring is split into whole certificates before"
READ = "OpenSSL reads the same certificate and refuses it; fuzz_vendor shows that nothing beyond it is read"
EXPECTED: dict[str, str] = {
    "csrc/stage/verify_evidence.c: e->out->view.holds": "evidence that holds can only be made by a vendor's hardware",
    "csrc/port/crypto/tpm_key.c: number.n > half": "the reader of TPMT_PUBLIC refuses longer coordinates first",
    "csrc/stage/attest_steps.c: result->n_checks == ATLAS_MAX_EVIDENCE_CHECKS": "no evidence has so many checks",
    "csrc/stage/attest_steps.c: passed != 0": "every kind lists a check of each group; only a future one might not",
    "csrc/stage/attest_trust.c: !atlas_certificate_next(&ders, &der)": WHOLE,
    "csrc/stage/attest_tdx.c: !atlas_certificate_next(&rest, &r->pck_der)": WHOLE,
    "csrc/stage/attest_snp.c: r->anchors.vendor && (strlen(r->result->anchor) != 4 + line || "
    "memcmp(r->result->anchor + 4, r->vcek.product, line) != 0)": "only AMD could sign a VCEK under the wrong root",
    "csrc/port/crypto/pki.c: signature.n != 64": "every caller cuts 64 bytes out of a field of fixed size",
    "csrc/port/crypto/pki.c: !atlas_certificate_next(&ders, &der)": WHOLE,
    "csrc/port/crypto/pck.c: !find_extensions(der, &list)": READ,
    "csrc/port/crypto/pck.c: !read_extension(&list, &this_oid, &value)": READ,
    "csrc/port/crypto/pck.c: !atlas_der_take(&der, ATLAS_DER_SEQUENCE, &certificate) || der.n != 0 || "
    "!atlas_der_take(&certificate.content, ATLAS_DER_SEQUENCE, &tbs)": READ,
    "csrc/port/crypto/pck.c: !atlas_der_take(&der, ATLAS_DER_SEQUENCE, &element) || der.n != 0 || "
    "!atlas_der_take(&element.content, ATLAS_DER_SEQUENCE, &element)": READ,
    "csrc/port/crypto/pck.c: !atlas_der_next(&rest, &last)": READ,
    "csrc/port/crypto/pck.c: !atlas_der_take(&last.content, ATLAS_DER_SEQUENCE, &element) || "
    "last.content.n != 0": READ,
    "csrc/port/crypto/pck.c: !atlas_der_take(list, ATLAS_DER_SEQUENCE, &extension) || "
    "!atlas_der_take(&extension.content, DER_OID, &oid)": READ,
    "csrc/port/crypto/pck.c: !atlas_der_take(&extension.content, ATLAS_DER_OCTETS, &value) || "
    "extension.content.n != 0": READ,
    "csrc/port/crypto/pck.c: !atlas_der_take(&name, ATLAS_DER_SEQUENCE, &rdns)": READ,
}
MACHINE = re.compile(r"== NULL|NOMEM|out of memory|sk_X509|_new\(|calloc|!= 1 \|\||X509_digest|SHA-256 failed")


@dataclass(frozen=True)
class Mutant:
    file: str
    line: int
    what: str
    text: str  # of the whole file, changed

    @property
    def place(self) -> str:
        return f"{self.file}: {self.what}"


def mutants(file: str) -> Iterator[Mutant]:
    source = (ROOT / file).read_text()
    for match in ROW.finditer(source):
        yield _mutant(file, source, match.start(), match.end(), "", match[0].strip())
    for pattern, value in ((BRANCH, "false"), (TERNARY, "true"), (FALSE, "false"), (PREDICATE, "true")):
        for match in pattern.finditer(source):
            condition = " ".join(match[1].split())
            if (pattern is not PREDICATE and MACHINE.search(match[0])) or condition.startswith("add_extension("):
                continue
            if MACHINE.search(source[match.end() : match.end() + 60]):
                continue  # the machine refused: no check of the evidence
            start, end = match.span(1)
            keep = f"(({match[1]}) && {value})" if value == "false" else f"(({match[1]}) || {value})"
            yield _mutant(file, source, start, end, keep, condition)


def _mutant(file: str, source: str, start: int, end: int, new: str, what: str) -> Mutant:  # noqa: PLR0917
    return Mutant(file, source.count("\n", 0, start) + 1, what, source[:start] + new + source[end:])


class Build:
    """A private copy with every object compiled once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("csrc", "atlas", "tests", "docs"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("build", "*.so", "corpus"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        flags = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "libcrypto", "libcbor", "jansson"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        self.compile = [
            *"cc -std=c11 -O1 -fPIC -w -D_GNU_SOURCE -DPy_LIMITED_API=0x030B0000 -Icsrc".split(),
            f"-I{sysconfig.get_path('include')}",
        ]
        self.libraries = [flag for flag in flags if flag.startswith("-l")] + ["-pthread"]
        sources = sorted(p.relative_to(folder).as_posix() for p in (folder / "csrc").rglob("*.c"))
        self.objects = {source: f"{source}.o" for source in sources}
        for source in sources:
            self.make(source)
        self.link()

    def make(self, source: str) -> bool:
        command = [*self.compile, "-c", source, "-o", self.objects[source]]
        return subprocess.run(command, cwd=self.folder, capture_output=True, check=False).returncode == 0

    def link(self) -> None:
        command = ["cc", "-shared", "-o", "atlas/_core.abi3.so", *self.objects.values(), *self.libraries]
        subprocess.run(command, cwd=self.folder, check=True)

    def test(self, file: str = "") -> str | None:
        """The first test that fails, beginning with those that are about this file; None when all pass."""
        first = [test for word, test in FIRST.items() if word in file] or [ON_TDX]
        others = (ON_TDX, ON_OTHERS, ON_COLLATERAL, ON_PIECES, ON_LOGS, ON_POLICY, ON_TPM, ON_AZURE)
        tests = [*first, *(test for test in others if test not in first)]
        files = [name for test in tests for name in test.split()]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", *files]
        environment = {k: v for k, v in os.environ.items() if k != "ATLAS_VECTORS"} | {"PYTHONPATH": str(self.folder)}
        try:
            ran = subprocess.run(
                command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120, check=False
            )
        except subprocess.TimeoutExpired:
            return "a test that hangs"
        if ran.returncode == 0:
            return None
        found = re.search(r"^(?:FAILED|ERROR) (\S+::\S.*?)(?: - |$)", ran.stdout, re.MULTILINE)
        return found[1].rpartition("/")[2] if found else f"exit code {ran.returncode}"

    def notice(self, mutant: Mutant) -> str | None:
        path = self.folder / mutant.file
        original = path.read_text()
        path.write_text(mutant.text)
        try:
            if not self.make(mutant.file):
                return "the compiler"
            self.link()
            return self.test(mutant.file)
        finally:
            path.write_text(original)
            self.make(mutant.file)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", default="", help="only mutants whose place holds this text")
    parser.add_argument("--list", action="store_true", help="only list them")
    args = parser.parse_args()
    chosen = [m for file in FILES for m in mutants(file) if args.k in m.place]
    if args.list:
        print(*(f"{m.file}:{m.line}: {m.what}" for m in chosen), f"{len(chosen)} mutants", sep="\n")
        return 0
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        build = Build(Path(folder))
        assert build.test() is None, "the tests must pass before anything is changed"
        for mutant in chosen:
            killer = build.notice(mutant)
            print(f"{mutant.file}:{mutant.line}: {mutant.what}\n    {killer or 'SURVIVES'}", flush=True)
            if killer is None:
                survivors.append(mutant)
    unexplained = [m for m in survivors if m.place not in EXPECTED]
    print(f"\n{len(chosen)} mutants, {len(survivors)} survive, {len(unexplained)} of them unexplained")
    for mutant in survivors:
        print(f"  {mutant.file}:{mutant.line}: {mutant.what}\n    {EXPECTED.get(mutant.place, 'UNEXPLAINED')}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    raise SystemExit(main())
