"""The arrows of docs/architecture.md: who may include or import whom, how large a file may grow, what is exported."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CSRC = ROOT / "csrc"
PACKAGE = ROOT / "atlas"

C_FILES = sorted(path.relative_to(CSRC).as_posix() for path in CSRC.rglob("*.[ch]") if "build" not in path.parts)
PYTHON_FILES = sorted(path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py"))


# --------------------------------------------------------------------------------------------------- C: includes

FOLDERS = ["base", "port", "format", "stage", "python"]

OUTSIDE = {  # an outside library's headers, and the one place that may include them
    "openssl/": "port/crypto/",
    "cbor.h": "port/cbor/",
    "jansson.h": "port/json.c",
    "tss2/": "port/tpm/",
    "pthread.h": "port/pool.c",
    "Python.h": "python/module.h",
    "immintrin.h": "port/simd/",
    "cpuid.h": "port/simd/",
}
STANDARD = "float inttypes limits stdarg stdatomic stdbool stddef stdint stdio stdlib string"
ANYWHERE = {f"{name}.h" for name in STANDARD.split()}
ONLY_PORT = {"dirent.h", "dlfcn.h", "errno.h", "fcntl.h", "sched.h", "signal.h", "time.h", "unistd.h"}


def includes(name: str, pattern: str) -> list[str]:
    return re.findall(rf"^\s*#\s*include\s+{pattern}", (CSRC / name).read_text(), re.MULTILINE)


def quoted(name: str) -> list[str]:
    return includes(name, r'"([^"]+)"')


def angled(name: str) -> list[str]:
    return includes(name, r"<([^>]+)>")


def folder_of(name: str) -> str:
    return name.split("/", maxsplit=1)[0]


def stage_of(name: str) -> str:
    """stage/verify_graph.c belongs to verify."""
    return Path(name).stem.split("_")[0]


def breaks_folder_arrow(name: str, header: str) -> bool:
    if folder_of(name) == "include":
        return folder_of(header) not in {"base", "stage"}
    return folder_of(header) == "include" or FOLDERS.index(folder_of(header)) > FOLDERS.index(folder_of(name))


SHARED_STAGES = {"stage/merkle.h", "stage/cache.h", "stage/note.h"}


def breaks_stage_arrow(name: str, header: str) -> bool:
    if folder_of(name) != "stage" or folder_of(header) != "stage" or header in SHARED_STAGES:
        return False
    return stage_of(name) not in {"verify", stage_of(header)}


def is_private(header: str) -> bool:
    """A header that only its own folder or stage may see."""
    parts = header.split("/")
    if parts[0] == "port" and len(parts) == 3:
        return header not in {"port/crypto/crypto.h", "port/crypto/vendor.h"}
    return parts[0] == "stage" and "_" in parts[1]


def sees_private(name: str, header: str) -> bool:
    if not is_private(header):
        return False
    same_stage = folder_of(header) == "stage" and stage_of(name) == stage_of(header)
    return Path(name).parent != Path(header).parent or (folder_of(header) == "stage" and not same_stage)


def test_the_c_files_are_found() -> None:
    assert {folder_of(name) for name in C_FILES} == {*FOLDERS, "include"}
    assert len(C_FILES) > 40


@pytest.mark.parametrize("name", C_FILES)
def test_a_c_file_includes_only_what_lies_to_its_left(name: str) -> None:
    for header in quoted(name):
        assert (CSRC / header).is_file(), f"{header} does not exist: paths start at csrc/"
        assert not breaks_folder_arrow(name, header), header
        assert not breaks_stage_arrow(name, header), header
        assert not sees_private(name, header), header


def test_formats_use_only_the_encodings_of_port() -> None:
    for name in C_FILES:
        if folder_of(name) == "format":
            ports = {header for header in quoted(name) if folder_of(header) == "port"}
            assert ports <= {"port/cbor.h", "port/json.h"}, name


def test_only_the_verifier_and_the_glue_know_the_verifier() -> None:
    for name in C_FILES:
        if "stage/verify.h" in quoted(name):
            assert stage_of(name) == "verify" or folder_of(name) in {"python", "include"}, name


def is_misplaced(name: str, header: str) -> bool:
    """Outside libraries have one place, the operating system is spoken to in port/, the rest must be standard C."""
    place = next((place for prefix, place in OUTSIDE.items() if header.startswith(prefix)), None)
    if place is not None:
        return not name.startswith(place)
    if header in ONLY_PORT or header.startswith(("sys/", "linux/")):
        return folder_of(name) != "port"
    return header not in ANYWHERE


def test_an_outside_library_is_included_in_one_place() -> None:
    assert [(name, header) for name in C_FILES for header in angled(name) if is_misplaced(name, header)] == []


def test_the_arrows_would_notice() -> None:
    assert breaks_folder_arrow("base/span.c", "port/cbor.h")
    assert breaks_folder_arrow("format/cose.c", "stage/claim.h")
    assert not breaks_folder_arrow("stage/claim.c", "format/cose.h")
    assert breaks_folder_arrow("stage/claim.c", "include/atlas.h")
    assert breaks_stage_arrow("stage/claim.c", "stage/measure.h")
    assert breaks_stage_arrow("stage/measure_scan.c", "stage/verify.h")
    assert not breaks_stage_arrow("stage/measure_scan.c", "stage/merkle.h")
    assert not breaks_stage_arrow("stage/verify_graph.c", "stage/measure.h")
    assert sees_private("stage/sign.c", "port/crypto/x509.h")
    assert sees_private("python/cbor.c", "port/cbor/item.h")
    assert sees_private("stage/sign.c", "stage/verify_parts.h")
    assert is_misplaced("stage/sign.c", "openssl/evp.h")
    assert is_misplaced("port/crypto/key.c", "cbor.h")
    assert is_misplaced("stage/measure.c", "unistd.h")
    assert is_misplaced("base/span.c", "zlib.h")


# -------------------------------------------------------------------------------------------------------- C: shape

MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 80
MAX_COLUMNS = 120


def functions(lines: list[str]) -> Iterator[tuple[str, int]]:
    """Each function's head and length: by the braces in column 0 that our style demands."""
    start = None
    for number, line in enumerate(lines):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            yield lines[start - 1], number - start + 1
            start = None


@pytest.mark.parametrize("name", C_FILES)
def test_c_files_and_functions_stay_small(name: str) -> None:
    lines = (CSRC / name).read_text().splitlines()
    assert len(lines) <= MAX_FILE_LINES
    assert [line for line in lines if len(line) > MAX_COLUMNS] == []
    assert [head for head, length in functions(lines) if length > MAX_FUNCTION_LINES] == []


PROCESS_WIDE = {  # state that is one per process by nature, and why
    ("port/pool.c", "static pthread_rwlock_t gate = PTHREAD_RWLOCK_INITIALIZER;"): "fork concerns the whole process",
    ("port/pool.c", "static pthread_once_t gate_once = PTHREAD_ONCE_INIT;"): "fork concerns the whole process",
    ("port/simd/choose.c", "static atomic_uint_fast64_t chosen;"): "what the processor is good at",
}


def test_there_is_no_mutable_state_in_files() -> None:
    variable = re.compile(
        r"^(?:static )?(?!typedef|extern|struct \w+;|enum)(?!.*\bconst\b)\w[\w *]*(?:\[.*\])?(?: =.*|;)$"
    )
    found = [
        (name, line)
        for name in C_FILES
        if folder_of(name) != "python"  # CPython wants its method and slot tables mutable
        for line in (CSRC / name).read_text().splitlines()
        if variable.match(line)
    ]
    assert set(found) == set(PROCESS_WIDE)
    assert variable.match("static int counter;")
    assert variable.match("static uint8_t scratch[64];")
    assert variable.match("int counter = 0;")
    assert not variable.match("static const int table[] = {1};")


def test_checks_do_not_vanish_in_release_builds() -> None:
    for name in C_FILES:
        assert "assert.h" not in angled(name), name


def test_the_extension_exports_its_init_function_and_nothing_else() -> None:
    from atlas import _core

    listing = subprocess.run(
        ["nm", "-D", "--defined-only", _core.__file__], capture_output=True, text=True, check=True
    ).stdout
    symbols = {line.split()[-1].split("@")[0] for line in listing.splitlines() if line.strip()}
    sanitized = any(symbol.startswith(("__asan", "__odr_asan")) for symbol in symbols)
    assert sanitized or symbols == {"PyInit__core"}


# ----------------------------------------------------------------------------------------------- Python: arrows

# Lower groups first. A module imports from its own group or from lower ones.
GROUPS: list[tuple[str, str]] = [
    ("ground", r"errors|version|escape|files|stamp"),
    ("model", r"model|explain"),
    ("library", r"measure|claim|sign|attest|log|verify|policy|store|catalog|sidecar|entry|locate|bundle|lineage"),
    ("library", r"proofs|log_target|log_queue"),
    ("library", r"web|tsa|pcs|tsm|provenance|private_copy|parts|tensors(\..*)?"),
    ("library", r"tpm|azure|evidence|enroll|runtime_log|tdreport|cache|remote(\..*)?"),
    ("recorder", r"recorder|record(\..*)?"),
    ("front", r"decorators|distributed|pytest_plugin|notebook|__main__|hooks(\..*)?|cli(\..*)?"),
    ("package", r"__init__"),
]
ORDER = list(dict.fromkeys(group for group, _ in GROUPS))

# Arrows against the order that are meant: taken inside a function, when the thing is really wanted.
LATE = {
    ("atlas/recorder.py", "hooks"),  # init() installs the hooks
}

# The only files that import these, wherever in the file.
OPTIONAL = {
    "torch": {"atlas/hooks/torch.py", "atlas/distributed.py"},
    "safetensors": {"atlas/hooks/safetensors.py"},
}

MAX_PYTHON_LINES = 400
LARGER = {"atlas/record/recorder.py": 500}  # where everything meets; not to grow


def module_of(name: str) -> str:
    """atlas/hooks/torch.py is hooks.torch; atlas/cli/__init__.py is cli; atlas/__init__.py is __init__."""
    parts = list(Path(name).with_suffix("").parts[1:])
    if len(parts) > 1 and parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def group_of(module: str) -> str:
    for group, pattern in GROUPS:
        if re.fullmatch(pattern, module):
            return group
    pytest.fail(f"atlas.{module} has no place in the arrows: give it one in tests/test_layering.py")


def is_type_checking(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


class Imports(ast.NodeVisitor):
    """(module, is it inside a function) of every import that runs. `from a import b` may mean the module a.b: both are
    found, the longer one first."""

    def __init__(self) -> None:
        self.found: list[tuple[tuple[str, ...], bool]] = []
        self.depth = 0

    def visit_If(self, node: ast.If) -> None:
        if not is_type_checking(node):
            self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [((alias.name,), self.depth > 0) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        assert node.level == 0 and node.module is not None, "relative imports hide the arrows"
        self.found += [((f"{node.module}.{alias.name}", node.module), self.depth > 0) for alias in node.names]


def imports(name: str) -> list[tuple[tuple[str, ...], bool]]:
    visitor = Imports()
    visitor.visit(ast.parse((ROOT / name).read_text()))
    return visitor.found


def own_modules(name: str) -> Iterator[tuple[str, bool]]:
    """The modules of the package that a file imports, without the package itself and without the C core."""
    known = {f"atlas.{module_of(other)}" for other in PYTHON_FILES}
    for candidates, late in imports(name):
        for candidate in candidates:
            if candidate in known:
                yield candidate.removeprefix("atlas."), late
                break


@pytest.mark.parametrize("name", PYTHON_FILES)
def test_a_module_imports_only_what_lies_to_its_left(name: str) -> None:
    mine = ORDER.index(group_of(module_of(name)))
    for module, late in own_modules(name):
        allowed = ORDER.index(group_of(module)) <= mine or (late and (name, module) in LATE)
        assert allowed, f"atlas.{module}"


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    graph = {
        module_of(name): {module for module, late in own_modules(name) if not late and module != module_of(name)}
        for name in PYTHON_FILES
    }
    while True:
        leaves = {module for module, others in graph.items() if not others & graph.keys()}
        if not leaves:
            break
        graph = {module: others for module, others in graph.items() if module not in leaves}
    assert not graph, sorted(graph)


def test_optional_packages_are_imported_in_one_place() -> None:
    for name in PYTHON_FILES:
        for candidates, _ in imports(name):
            places = OPTIONAL.get(candidates[0].split(".")[0])
            assert places is None or name in places, (name, candidates)


def test_python_files_stay_small() -> None:
    sizes = {name: len((ROOT / name).read_text().splitlines()) for name in PYTHON_FILES}
    assert {name: lines for name, lines in sizes.items() if lines > LARGER.get(name, MAX_PYTHON_LINES)} == {}


def test_what_people_touch_does_not_reach_into_the_core() -> None:
    for name in PYTHON_FILES:
        if re.match(r"atlas/(cli/|notebook|pytest_plugin|decorators|__main__)", name):
            assert not any(candidates[0].startswith("atlas._core") for candidates, _ in imports(name)), name


# -------------------------------------------------------------------------------------------- Python: import atlas

SLOW = ["torch", "safetensors", "numpy", "kfp", "ssl", "urllib.request", "asyncio", "multiprocessing"]


def in_a_new_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_import_atlas_imports_nothing_slow() -> None:
    loaded = in_a_new_process(f"import sys, atlas; print([m for m in {SLOW!r} if m in sys.modules])")
    assert loaded.strip() == "[]"


def test_import_atlas_takes_under_a_tenth_of_a_second(tmp_path: Path) -> None:
    """Processor time, since somebody else may have the processor; with bytecode cached, as on a user's machine."""
    code = "import time; t = time.process_time(); import atlas; print(time.process_time() - t)"
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environ["PYTHONPYCACHEPREFIX"] = str(tmp_path)
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, capture_output=True, check=True, cwd=ROOT, env=environ) for _ in range(9)]
    assert min(float(run.stdout) for run in runs) < 0.1
