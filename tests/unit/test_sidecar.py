"""Sidecars: where they stand, in which order they are looked for, and what a crash leaves behind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from forge import chain, world

from atlas.errors import LimitError, NotFound, SystemFailure
from atlas.sidecar import read_regular, write_atomic
from atlas.store import (
    Store,
    find_manifest,
    index_path,
    looked_for,
    put_back,
    set_aside,
    sidecar_path,
    write_sidecar,
)

CONTENT = b"weights"


def manifest(name: str = "m.pt") -> bytes:
    return chain.make(name, CONTENT, world.TUNER).sidecar


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "m.pt"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


# ------------------------------------------------------------------------------------------------------ names


def test_a_sidecar_stands_beside_its_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sidecar_path("out/model.pt") == Path("out/model.pt.c2pa")
    assert sidecar_path("data/") == Path("data.c2pa")
    assert index_path("data/") == Path("data.c2pa-index")
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert sidecar_path(".") == tmp_path / "data.c2pa"
    assert index_path("..") == tmp_path.with_name(tmp_path.name + ".c2pa-index")


# ----------------------------------------------------------------------------------------------------- lookup


def test_the_named_manifest_comes_first_then_the_sidecar_then_the_links_target_then_the_store(
    artifact: Path, store: Store, tmp_path: Path
) -> None:
    places = {name: manifest(name) for name in ("named", "sidecar", "first hop", "last hop", "store")}
    named = tmp_path / "elsewhere.c2pa"
    named.write_bytes(places["named"])
    blob, hop, link = tmp_path / "blob", tmp_path / "hop", tmp_path / "link.pt"
    artifact.rename(blob)
    hop.symlink_to("blob")
    link.symlink_to(hop)
    store.put(places["store"])
    sidecar_path(link).write_bytes(places["sidecar"])
    sidecar_path(hop).write_bytes(places["first hop"])
    sidecar_path(blob).write_bytes(places["last hop"])

    def found(**options: object) -> tuple[bytes, str] | None:
        return find_manifest(link, store=store, **options)  # type: ignore[arg-type]

    assert found(manifest=named) == (places["named"], str(named))
    assert found() == (places["sidecar"], str(sidecar_path(link)))
    sidecar_path(link).unlink()
    assert found() == (places["first hop"], str(sidecar_path(hop)))
    sidecar_path(hop).unlink()
    assert found() == (places["last hop"], str(sidecar_path(blob)))
    sidecar_path(blob).unlink()
    in_store = found()
    assert in_store is not None
    assert in_store[0] == places["store"]
    assert in_store[1].startswith("store, ")


def test_a_named_manifest_that_is_missing_is_an_error_and_nothing_else_is_tried(artifact: Path, store: Store) -> None:
    write_sidecar(artifact, manifest())
    with pytest.raises(NotFound):
        find_manifest(artifact, manifest="missing.c2pa", store=store)


def test_when_nothing_is_found_it_can_be_said_where_it_was_looked_for(artifact: Path, store: Store) -> None:
    assert find_manifest(artifact, store=store) is None
    assert str(sidecar_path(artifact)) in looked_for(artifact, store)
    assert str(store.directory) in looked_for(artifact, store)


def test_a_loop_of_links_ends(tmp_path: Path, store: Store) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert find_manifest(tmp_path / "a", store=store) is None


def test_nothing_is_measured_while_a_sidecar_answers(artifact: Path, store: Store) -> None:
    write_sidecar(artifact, manifest())
    store.put(manifest())

    def never(_path: object) -> None:
        raise AssertionError("measured")

    assert find_manifest(artifact, store=store, measured=never) is not None  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["fifo", "directory", "device"])
def test_a_sidecar_that_is_no_regular_file_is_an_error_and_never_blocks(artifact: Path, kind: str) -> None:
    place = sidecar_path(artifact)
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    else:
        place.symlink_to("/dev/zero")
    with pytest.raises(SystemFailure):
        find_manifest(artifact)


def test_a_file_is_read_up_to_its_limit_and_not_one_byte_further(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 100)
    assert read_regular(path, limit=100) == b"x" * 100
    with pytest.raises(LimitError):
        read_regular(path, limit=99)


# ---------------------------------------------------------------------------------------------------- writing


def test_the_old_manifest_is_aside_before_and_gone_after(artifact: Path) -> None:
    write_sidecar(artifact, manifest("old"), b"old index")
    assert set_aside(artifact)
    assert find_manifest(artifact, store=Store(artifact.parent / "none")) is None
    assert not index_path(artifact).exists()
    artifact.write_bytes(b"new")
    write_sidecar(artifact, manifest("new"), b"new index")
    assert sidecar_path(artifact).read_bytes() == manifest("new")
    assert index_path(artifact).read_bytes() == b"new index"
    assert sorted(p.name for p in artifact.parent.iterdir()) == ["m.pt", "m.pt.c2pa", "m.pt.c2pa-index"]


def test_setting_aside_what_is_not_there_does_nothing(artifact: Path) -> None:
    assert not set_aside(artifact)


def test_an_artifact_that_was_not_changed_after_all_gets_its_manifest_back(artifact: Path) -> None:
    write_sidecar(artifact, manifest(), b"index")
    set_aside(artifact)
    put_back(artifact)
    assert sidecar_path(artifact).read_bytes() == manifest()
    assert index_path(artifact).read_bytes() == b"index"


def test_putting_back_never_replaces_a_newer_manifest(artifact: Path) -> None:
    write_sidecar(artifact, manifest("old"))
    set_aside(artifact)
    sidecar_path(artifact).write_bytes(manifest("new"))
    put_back(artifact)
    assert sidecar_path(artifact).read_bytes() == manifest("new")


def test_a_sidecar_that_is_a_link_is_replaced_and_its_target_left_alone(artifact: Path, tmp_path: Path) -> None:
    target = tmp_path / "blob.c2pa"
    target.write_bytes(b"shared")
    sidecar_path(artifact).symlink_to(target)
    write_sidecar(artifact, manifest())
    assert target.read_bytes() == b"shared"
    assert sidecar_path(artifact).read_bytes() == manifest()


def test_a_write_that_fails_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    with pytest.raises(SystemFailure):
        write_atomic(tmp_path / "missing" / "f", b"new")
    with pytest.raises(TypeError):
        write_atomic(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


_CRASHES = """
import os, sys
from pathlib import Path
from atlas import sidecar
left = int(sys.argv[2])
def counted(real):
    def step(*args, **options):
        global left
        if left == 0:
            os._exit(9)
        left -= 1
        return real(*args, **options)
    return step
os.fsync = counted(os.fsync)
Path.replace = counted(Path.replace)
Path.unlink = counted(Path.unlink)
artifact = Path(sys.argv[1])
if sys.argv[3] == "changed":
    sidecar.set_aside(artifact)
    counted(lambda: artifact.joinpath("part.txt").write_bytes(b"new"))()
sidecar.write_sidecar(artifact, b"new manifest", b"new index")
"""


@pytest.mark.parametrize("what", ["changed", "signed again"])
def test_a_crash_at_any_step_of_overwriting_leaves_no_manifest_or_the_right_one(tmp_path: Path, what: str) -> None:
    content = b"new" if what == "changed" else b"old"
    right = {
        (b"old", b"old index", b"old manifest"),
        (content, b"new index", b"new manifest"),
    }
    seen = set()
    for step in range(40):
        folder = tmp_path / str(step) / "data"
        folder.mkdir(parents=True)
        (folder / "part.txt").write_bytes(b"old")
        write_sidecar(folder, b"old manifest", b"old index")
        ran = subprocess.run([sys.executable, "-c", _CRASHES, str(folder), str(step), what], check=False)
        if sidecar_path(folder).exists():
            state = tuple(p.read_bytes() for p in (folder / "part.txt", index_path(folder), sidecar_path(folder)))
            assert state in right, f"step {step}"
            seen.add(state)
        else:
            seen.add(None)
        if ran.returncode == 0:
            break
    assert ran.returncode == 0
    assert seen == {*right, None}


@pytest.mark.skipif(
    os.geteuid() == 0 and not shutil.which("setpriv"), reason="root needs setpriv to be refused anything"
)
def test_an_old_manifest_that_cannot_be_moved_is_an_error_with_its_remedy(artifact: Path) -> None:
    write_sidecar(artifact, manifest())
    humble = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    code = "import sys; from atlas.store import set_aside; set_aside(sys.argv[1])"
    artifact.parent.chmod(0o555)
    try:
        ran = subprocess.run(
            [*humble, sys.executable, "-c", code, str(artifact)], capture_output=True, text=True, check=False
        )
    finally:
        artifact.parent.chmod(0o755)
    assert ran.returncode == 1
    assert "it would accuse the new bytes" in ran.stderr
