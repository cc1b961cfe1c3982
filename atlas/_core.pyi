"""The C core, as Python sees it. A digest is ("sha256", bytes); see csrc/include/atlas.h for what the functions promise."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, final

_Digest = tuple[str, bytes]

# ------------------------------------------------------------------------------------------------------------ claim

def claim_build(
    *,
    urn: str,
    instance_id: str,
    generator: bytes,
    asset_name: str,
    binding: _Digest,
    ingredients: list[dict[str, Any]],
    digital_source_type: str,
    when: str,
    step: str | None,
    asset_type: bytes,
    assertions: list[tuple[str, bytes]],
) -> tuple[bytes, bytes]: ...
def claim_seal(urn: str, assertions: bytes, claim: bytes, cose: bytes, ancestors: list[bytes], /) -> bytes: ...
def store_read(store: bytes, /) -> list[dict[str, Any]]: ...

# ----------------------------------------------------------------------------------------------------------- verify

@final
class Verifier:
    def __init__(
        self,
        *,
        trust: bytes = b"",
        tsa_trust: bytes = b"",
        crls: Iterable[bytes] = (),
        now: int,
        tree_only: bool = False,
        require_artifacts: bool = False,
        require_revocation: bool = False,
        refuse_unknown: bool = False,
        signers: Iterable[str] = (),
        redactable: Iterable[str] = (),
    ) -> None: ...
    def open(self, store: bytes, /) -> None: ...
    def next(self) -> dict[str, Any] | None: ...
    def manifest(self, store: bytes, /) -> None: ...
    def measured(self, measurement: tuple[Any, ...], detail: str = "", /) -> None: ...
    def absent(self, why: str, /) -> None: ...
    def refused(self, why: str, /) -> None: ...
    def unreadable(self, why: str, /) -> None: ...
    def finish(self) -> tuple[str, list[tuple[Any, ...]], list[dict[str, Any]]]: ...
