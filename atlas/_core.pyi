"""The C core, as Python sees it. A digest is ("sha256", bytes); csrc/include/atlas.h says what a function promises."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypedDict, final

from typing_extensions import Buffer

_Digest = tuple[str, bytes]

# ---------------------------------------------------------------------------------------------------------- measure

_File = tuple[Literal["file", "directory"], _Digest | None, _Digest | None, int, int, _Digest | None]
_Directory = tuple[Literal["file", "directory"], _Digest, _Digest, int, int, _Digest | None, bytes, dict[str, str]]
_Progress = Callable[[int, int], Any] | None

def measure_file(
    path: str | bytes | os.PathLike[str],
    *,
    alg: str = "sha256",
    flat: bool = True,
    tree: bool = True,
    threads: int = 0,
    progress: _Progress = None,
) -> _File: ...
def measure_fd(
    fd: int,
    *,
    alg: str = "sha256",
    flat: bool = True,
    tree: bool = True,
    threads: int = 0,
    progress: _Progress = None,
) -> _File: ...
def measure_directory(
    path: str | bytes | os.PathLike[str],
    *,
    alg: str = "sha256",
    ignore: Iterable[str] = (),
    threads: int = 0,
    progress: _Progress = None,
) -> _Directory: ...
@final
class Measurer:
    def __new__(cls, alg: str = "sha256", flat: bool = True, tree: bool = True, threads: int = 0) -> Measurer: ...
    def update(self, buffer: Buffer, /) -> None: ...
    def finish(self) -> _File: ...

_Tensor = tuple[Buffer | None, int, int, int, tuple[int, ...], tuple[int, ...]]

def tensor_digests(
    tensors: Iterable[_Tensor], *, fd: int = -1, size: int = 0, where: str = "", threads: int = 0
) -> bytes: ...
def address_of(buffer: Buffer, /) -> int: ...
def chunk_digests(buffer: Buffer, alg: str = "sha256", threads: int = 0) -> bytes: ...
def tree_root(alg: str, digests: Buffer, /) -> bytes: ...
def measure_part(
    path: str | bytes | os.PathLike[str],
    *,
    first: int = 0,
    end: int | None = None,
    share: int = 0,
    of: int = 0,
    alg: str = "sha256",
    ignore: Iterable[str] = (),
    threads: int = 0,
    progress: _Progress = None,
) -> bytes: ...
def part_merge(records: Iterable[bytes], /) -> bytes: ...
def part_measurement(record: Buffer, /) -> _File | _Directory: ...
def part_range(record: Buffer, /) -> tuple[Literal["file", "directory"], int, int, int]: ...
def index_parse(index: Buffer, /) -> list[tuple[str, str, str, int]]: ...
def index_compare(before: Buffer, after: Buffer, /) -> dict[str, list[str]]: ...
def merkle_leaf(alg: str, entry: Buffer, /) -> bytes: ...
def merkle_inclusion_prove(alg: str, leaf_hashes: Buffer, index: int, /) -> list[bytes]: ...
def merkle_consistency_prove(alg: str, leaf_hashes: Buffer, size: int, /) -> list[bytes]: ...
def merkle_inclusion_check(
    alg: str, index: int, size: int, leaf_hash: Buffer, proof: Sequence[bytes], root: Buffer, /
) -> None: ...
def merkle_consistency_check(
    alg: str, size1: int, size2: int, root1: Buffer, root2: Buffer, proof: Sequence[bytes], /
) -> None: ...

# ------------------------------------------------------------------------------------------------------------- cbor

def cbor_encode(value: object, /) -> bytes: ...
def cbor_decode(data: bytes | bytearray | memoryview, /) -> Any: ...

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

# ------------------------------------------------------------------------------------------------------------- sign

_Purpose = Literal["claim", "tsa", "ocsp"]

class _CertificateInfo(TypedDict):
    common_name: str
    subject: str
    issuer: str
    serial: str
    alg: str | None  # what its key signs with unless told otherwise
    spki: bytes
    spki_sha256: bytes
    not_before: int
    not_after: int
    self_issued: bool

class _Revocation(TypedDict):
    leaf_covered: bool
    issuers_covered: bool
    stale: bool
    revoked_later: bool
    revoked_at: int

class _Chain(TypedDict):
    length: int
    anchor: bytes
    revocation: _Revocation

class _Timestamp(TypedDict):
    gen_time: int
    trusted: bool
    authority: str
    revocation: _Revocation

class _Ocsp(TypedDict):
    status: Literal["unknown", "good", "revoked later"]
    this_update: int
    next_update: int
    revoked_at: int

class _Cose(TypedDict):
    alg: int
    chain: list[bytes]
    protected: bytes
    payload: bytes | None
    signature: bytes
    timestamp: bytes | None
    ocsp: bytes | None  # encoded array of byte strings

@final
class Key:
    def __new__(cls, pem: Buffer, password: Buffer | None = None) -> Key: ...
    @property
    def alg(self) -> str: ...
    @property
    def spki(self) -> bytes: ...
    def sign(self, tbs: Buffer, alg: str | int | None = None) -> bytes: ...
    def match(self, certificate: Buffer, /) -> None: ...

@final
class Trust:
    def __new__(cls, anchors: bytes = b"", tsa_anchors: bytes = b"", crls: Iterable[bytes] = ()) -> Trust: ...
    def check_chain(self, chain: Iterable[bytes], time: int, now: int, purpose: _Purpose = "claim") -> _Chain: ...
    def check_timestamp(self, token: Buffer, message: Buffer, now: int) -> _Timestamp: ...
    def check_ocsp(self, response: Buffer, chain: Iterable[bytes], time: int, now: int) -> _Ocsp: ...

def sign_prepare(claim: Buffer, alg: str | int, chain: Iterable[bytes], /) -> tuple[bytes, bytes]: ...
def sign_countertbs(protected: bytes, signature: bytes, /) -> bytes: ...
def sign_finish(
    claim: bytes, protected: bytes, signature: bytes, timestamp: bytes | None = None, ocsp: Iterable[bytes] = ()
) -> bytes: ...
def signature_verify(alg: str | int, spki: Buffer, tbs: Buffer, signature: Buffer, /) -> None: ...
def cose_read(data: bytes, /) -> _Cose: ...
def cose_sig_structure(protected: bytes, external_aad: bytes, payload: bytes, /) -> bytes: ...
def certificate_info(der: Buffer, /) -> _CertificateInfo: ...
def certificate_chain_check(chain: Iterable[bytes], purpose: _Purpose = "claim", /) -> None: ...
def certificates_from_pem(pem: Buffer, /) -> list[bytes]: ...
def certificate_to_pem(der: Buffer, /) -> bytes: ...
def keygen(name: str, alg: str, years: int, /) -> tuple[bytes, bytes, bytes, bytes]: ...
def timestamp_request(message: Buffer, /) -> bytes: ...
def timestamp_token(request: Buffer, response: Buffer, /) -> bytes: ...

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
    def tensors(self, root: _Digest | None, from_file: bool, why: str = "", /) -> None: ...
    def absent(self, why: str, /) -> None: ...
    def refused(self, why: str, /) -> None: ...
    def unreadable(self, why: str, /) -> None: ...
    def finish(self) -> tuple[str, list[tuple[Any, ...]], list[dict[str, Any]]]: ...

# ----------------------------------------------------------------------------------------------------------- attest

_Kind = Literal["tdx", "snp", "nvidia", "tpm", "azure"]

@final
class Collateral:
    def __new__(cls) -> Collateral: ...
    def add(self, data: Buffer, /) -> None: ...

def attest_verify(
    kind: _Kind,
    evidence: Buffer,
    collateral: Collateral,
    /,
    *,
    at: int,
    policy: Buffer | None = None,
    report_data: Buffer | None = None,
    event_log: Buffer | None = None,
    anchor: Buffer | None = None,
) -> dict[str, Any]: ...
def evidence_read(kind: _Kind, evidence: Buffer, /) -> dict[str, Any]: ...
def ccel_replay(log: Buffer, /) -> tuple[bytes, bytes, bytes, bytes, int, int]: ...
