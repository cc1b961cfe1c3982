"""Where the artifacts and manifests that a chain speaks of may lie. Finds candidates; decides nothing about trust:
whatever is found is compared with digests by the verifier."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from atlas import _core
from atlas.errors import MalformedError, SystemFailure
from atlas.files import is_there, need_directory, read_regular
from atlas.store import Store, sidecar_path

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from atlas.model import Digest


class Locator:
    """Looks under the given root, under the root that the artifact's own name implies, and beside the artifact.

    An artifact `/x/project/out/model.pt` whose manifest calls it ``out/model.pt`` implies the root `/x/project`.
    """

    def __init__(
        self,
        artifact: Path,
        *,
        root: str | os.PathLike[str] | None,
        bundle: str | os.PathLike[str] | None,
        store: Store,
    ) -> None:
        self._artifact = artifact.absolute()
        given = need_directory(root)
        self._roots = [given.absolute()] if given is not None else []
        self._bundle = need_directory(bundle)
        self._store = store

    def anchor(self, name: str) -> None:
        """Learn the logical name of the artifact itself."""
        parts = PurePosixPath(name).parts
        if parts and self._artifact.parts[-len(parts) :] == parts:
            self._roots.append(Path(*self._artifact.parts[: -len(parts)]))

    def manifest(self, digest: Digest, name: str) -> bytes | None:
        """The manifest store with this digest over all its bytes."""
        if digest.alg == "sha256" and (data := self._store.get(digest.hex)) is not None:
            return data
        for path in self._manifest_candidates(digest, name):
            try:
                data = read_regular(path)
            except (SystemFailure, MalformedError):
                continue
            if hashlib.new(digest.alg, data).digest() == digest.value:
                return data
        return None

    def table(self, digest: Digest) -> bytes | None:
        """The tensor table with this SHA-256, from the store."""
        return self._store.get(digest.hex) if digest.alg == "sha256" else None

    def _manifest_candidates(self, digest: Digest, name: str) -> Iterator[Path]:
        if self._bundle is not None:
            yield self._bundle / f"{digest.hex}.c2pa"
        for candidate in self._artifact_candidates(name):
            yield sidecar_path(candidate)

    def artifact(self, name: str, urn: str) -> tuple[Path | None, str]:
        """The file or directory of that logical name, or None and the reason.

        A path whose sidecar is another manifest is another artifact that took over the name (a rotated or overwritten
        checkpoint), not a changed one.
        """
        why = "not found"
        for candidate in self._artifact_candidates(name):
            if not is_there(candidate):
                continue
            other = _sidecar_urn(candidate)
            if other is None or other == urn:
                return candidate, ""
            why = "the name now belongs to an artifact with another manifest"
        return None, why

    def _artifact_candidates(self, name: str) -> Iterator[Path]:
        parts = PurePosixPath(name).parts
        # The core refuses manifests with such names; this keeps the file system out of it all the same.
        if not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\0" in name:
            return
        seen = {self._artifact}
        beside = self._artifact.parent
        for path in (*(root.joinpath(*parts) for root in self._roots), beside.joinpath(*parts), beside / parts[-1]):
            if path not in seen:
                seen.add(path)
                yield path


def _sidecar_urn(artifact: Path) -> str | None:
    try:
        manifests = _core.store_read(read_regular(sidecar_path(artifact)))
    except (SystemFailure, MalformedError):
        return None
    urn: str = manifests[-1]["urn"]
    return urn


__all__ = ["Locator"]
