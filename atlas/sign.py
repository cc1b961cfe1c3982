"""Keys and signers: who puts a name to a claim.

    signer = load_signer("keys/key.pem")                       # its chain.pem lies beside it
    signer = load_signer("tpm:keys/key.tpm")                   # a key that never leaves this machine's TPM
    signer = load_signer(kms_sign, chain="chain.pem")          # any callable: bytes to sign -> raw signature
    keygen("Alice", "keys/")                                   # a development CA and a key under it

A signature is raw in COSE's form: r and s one after the other for ECDSA (64, 96 or 132 bytes), 64 bytes for Ed25519,
RSASSA-PSS with a salt as long as the digest for RSA. What a signer returns is verified with its certificate before
anything is written.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from atlas import _core
from atlas.errors import AtlasError, KeyFileError, MalformedError, NotFound, UsageError, VerificationError
from atlas.files import read_regular
from atlas.tsa import request_timestamp

MAX_KEY_BYTES = 1 << 20
MAX_CHAIN_BYTES = 1 << 20
CHAIN_FILE = "chain.pem"
TPM_PREFIX = "tpm:"  # before the file that stands for a key in a TPM

PROFILE_HINT = (
    "a signing certificate is X.509 v3, issued by a CA, with key usage digitalSignature and extended key usage "
    "c2pa-kp-claimSigning or emailProtection; `atlas keygen` makes one for development"
)

StrPath: TypeAlias = "str | os.PathLike[str]"


@runtime_checkable
class Signer(Protocol):
    """What signing needs; a KMS or TPM client can be one."""

    @property
    def alg(self) -> str:
        """ "ES256" and so on."""

    @property
    def chain(self) -> list[bytes]:
        """DER certificates, leaf first, root left out."""

    def sign(self, tbs: bytes) -> bytes:
        """Raw signature of these bytes, in COSE's form."""


SignFunction: TypeAlias = Callable[[bytes], bytes]
KeySource: TypeAlias = "StrPath | Signer | SignFunction"
ChainSource: TypeAlias = "StrPath | bytes | Sequence[bytes]"


@dataclass(frozen=True, slots=True)
class _FunctionSigner:
    alg: str
    chain: list[bytes]
    function: SignFunction

    def sign(self, tbs: bytes) -> bytes:
        signature = self.function(tbs)
        if not isinstance(signature, bytes | bytearray | memoryview):
            raise UsageError(f"the signing function returned {type(signature).__name__}, not bytes")
        return bytes(signature)


@dataclass(frozen=True, slots=True)
class _KeySigner:
    alg: str
    chain: list[bytes]
    key: _core.Key

    def sign(self, tbs: bytes) -> bytes:
        return self.key.sign(tbs, self.alg)


def load_signer(
    key: KeySource,
    chain: ChainSource | None = None,
    password: str | bytes | None = None,
    *,
    alg: str | None = None,
) -> Signer:
    """A signer that is known to work: chain in order, leaf within the profile and its dates, key and leaf a pair.

    `key`: a PEM file, "tpm:FILE" for a key in a TPM, a Signer, or a function from bytes to a raw signature (then
    `chain` is required). `chain`: a PEM file, PEM text as bytes, or DER certificates, leaf first; `chain.pem` beside
    the key unless given. `password`: of an encrypted key; else ATLAS_KEY_PASSWORD, else a prompt if there is a
    terminal. `alg`: only RSA keys leave a choice.
    """
    signer: Signer
    if isinstance(key, str) and key.startswith(TPM_PREFIX):
        signer = _from_tpm(Path(key.removeprefix(TPM_PREFIX)), chain)
    elif isinstance(key, str | os.PathLike):
        signer = _from_file(Path(key), chain, password, alg)
    elif isinstance(key, Signer):
        signer = key
        if chain is not None or alg is not None:
            signer = _FunctionSigner(alg or key.alg, _chain(chain or key.chain), key.sign)
    elif callable(key):
        if chain is None:
            raise UsageError("a signing function needs chain=", hint="the leaf's certificate says which key it is")
        certificates = _chain(chain)
        signer = _FunctionSigner(alg or _alg_of(certificates[0]), certificates, key)
    else:
        raise UsageError(f"a key is a file, a Signer or a function, not {type(key).__name__}")
    _check(signer)
    return signer


def _chain_of(path: Path, chain: ChainSource | None) -> list[bytes]:
    try:
        return _chain(path.parent / CHAIN_FILE if chain is None else chain)
    except NotFound as error:
        if chain is not None:
            raise
        raise NotFound(
            f"there is no {CHAIN_FILE} beside the key",
            where=str(path),
            hint="name the signing certificate and its intermediates (PEM, leaf first) with chain= or --chain",
        ) from error


def _not_a_pair(path: Path) -> KeyFileError:
    return KeyFileError(
        "the key does not belong to the first certificate of the chain",
        code="ATLAS_E_KEY",
        where=str(path),
        hint="the chain starts with the certificate that was issued for this key",
    )


def _from_file(path: Path, chain: ChainSource | None, password: str | bytes | None, alg: str | None) -> Signer:
    key = _read_key(path, password)
    certificates = _chain_of(path, chain)
    try:
        key.match(certificates[0])
    except KeyFileError as error:
        raise _not_a_pair(path) from error
    return _KeySigner(alg or key.alg, certificates, key)


def _from_tpm(path: Path, chain: ChainSource | None) -> Signer:
    from atlas.tpm import TpmKey

    key = TpmKey.read(path)
    certificates = _chain_of(path, chain)
    if _core.certificate_info(certificates[0])["spki"] != key.spki:
        raise _not_a_pair(path)
    return _FunctionSigner(key.alg, certificates, key.sign)


# ------------------------------------------------------------------------------------------------------- key files


def _read_key(path: Path, password: str | bytes | None) -> _core.Key:
    pem = read_regular(path, limit=MAX_KEY_BYTES)
    secret = _encoded(password)
    if secret is None and b"ENCRYPTED" in pem:
        secret = _ask(path)
    try:
        return _core.Key(pem, secret)
    except (KeyFileError, VerificationError) as error:
        raise KeyFileError(error.text, code=error.code, where=str(path), hint=_key_hint(error)) from error


def _key_hint(error: AtlasError) -> str:
    if error.code == "ATLAS_E_KEY":
        return "a key file is PEM: PKCS#8, or a traditional EC or RSA key"
    return "usable keys: P-256, P-384, P-521, Ed25519, RSA of 2048 to 8192 bits"


def _encoded(password: str | bytes | None) -> bytes | None:
    return password.encode() if isinstance(password, str) else password


def _ask(path: Path) -> bytes:
    """From the environment or a prompt; never from an argument, which every process on the machine can read."""
    if "ATLAS_KEY_PASSWORD" in os.environ:
        return os.fsencode(os.environ["ATLAS_KEY_PASSWORD"])
    if sys.stdin is None or not sys.stdin.isatty():
        raise KeyFileError(
            "the key is encrypted: a password is needed",
            code="ATLAS_E_KEY",
            where=str(path),
            hint="pass password=, set ATLAS_KEY_PASSWORD or run on a terminal",
        )
    import getpass

    return getpass.getpass(f"password of {path}: ").encode()


# ------------------------------------------------------------------------------------------------------------ chains


def _chain(source: ChainSource) -> list[bytes]:
    """DER certificates, leaf first, without a root at the end: who verifies has it, or does not trust it."""
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        certificates = _from_pem(read_regular(path, limit=MAX_CHAIN_BYTES), str(path))
    elif isinstance(source, bytes):
        certificates = _from_pem(source, "chain")
    else:
        certificates = [bytes(der) for der in source]
    if not certificates:
        raise UsageError("the chain holds no certificate")
    if len(certificates) > 1 and _core.certificate_info(certificates[-1])["self_issued"]:
        certificates.pop()
    return certificates


def _from_pem(pem: bytes, where: str) -> list[bytes]:
    try:
        return _core.certificates_from_pem(pem)
    except MalformedError as error:
        raise KeyFileError(
            error.text, code=error.code, where=where, hint="a chain file holds PEM certificates, leaf first"
        ) from error


def _alg_of(leaf: bytes) -> str:
    alg = _core.certificate_info(leaf)["alg"]
    if alg is None:
        raise KeyFileError("the certificate's kind of key is not usable", hint=PROFILE_HINT)
    return alg


def _day(moment: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment))


def _check(signer: Signer) -> None:
    """Everything that can be known before the first signature is known now."""
    leaf = _core.certificate_info(signer.chain[0])
    where = f"certificate of {leaf['common_name']}"
    try:
        _core.certificate_chain_check(signer.chain)
    except VerificationError as error:
        raise KeyFileError(error.text, code=error.code, where=where, hint=PROFILE_HINT) from error
    try:
        _core.sign_prepare(b"", signer.alg, signer.chain)
    except VerificationError as error:
        text = f"{signer.alg} does not fit the key of the certificate"
        raise KeyFileError(text, code=error.code, where=where, hint=f"its key signs {leaf['alg']}") from error
    now = int(time.time())
    if now >= leaf["not_after"]:
        text = f"the signing certificate expired on {_day(leaf['not_after'])}"
    elif now < leaf["not_before"]:
        text = f"the signing certificate is valid only from {_day(leaf['not_before'])}"
    else:
        return
    hint = "sign with a current certificate; for development, `atlas keygen` makes a new one"
    raise KeyFileError(text, code="ATLAS_E_EXPIRED", where=where, hint=hint)


# --------------------------------------------------------------------------------------------------- development keys


@dataclass(frozen=True, slots=True)
class GeneratedKeys:
    """Where `keygen` put what it made."""

    root: Path  # the anchor to hand out
    chain: Path
    key: Path  # secret
    root_key: Path  # secret, needed only to issue another certificate


_GITIGNORE = b"# private keys\n/key.pem\n/key.tpm\n/ca/\n"


def keygen(name: str, directory: StrPath, alg: str = "ES256", *, years: int = 10, tpm: bool = False) -> GeneratedKeys:
    """Make a development CA and a signing key under it. Nothing that is there already is ever overwritten.

    `tpm`: the key is made in this machine's TPM and stays there; its file only stands for it ("tpm:DIR/key.tpm").
    """
    folder = Path(directory)
    key_file = folder / ("key.tpm" if tpm else "key.pem")
    files = GeneratedKeys(folder / "root.pem", folder / CHAIN_FILE, key_file, folder / "ca" / "root-key.pem")
    root, root_key, chain, key = _generate_in_tpm(name, alg, years) if tpm else _generate(name, alg, years)
    made: list[Path] = []
    try:
        for place in (*reversed(_missing(folder)), folder / "ca"):
            place.mkdir(mode=0o700)
            made.append(place)
        for path, content, mode in (
            (folder / ".gitignore", _GITIGNORE, 0o644),
            (files.root_key, root_key, 0o600),
            (files.key, key, 0o600),
            (files.chain, chain, 0o644),
            (files.root, root, 0o644),
        ):
            _create(path, content, mode, made)
    except BaseException as error:
        _remove(made)
        if isinstance(error, FileExistsError):
            raise UsageError(
                "is there already, and keys are never overwritten",
                where=str(error.filename),
                hint="name a directory that does not exist yet",
            ) from error
        raise
    return files


def _generate(name: str, alg: str, years: int) -> tuple[bytes, bytes, bytes, bytes]:
    try:
        return _core.keygen(name, alg, years)
    except VerificationError as error:
        hint = "ES256, ES384, ES512, PS256, PS384, PS512 or EdDSA"
        raise UsageError(f"no such algorithm: {alg}", hint=hint) from error


def _generate_in_tpm(name: str, alg: str, years: int) -> tuple[bytes, bytes, bytes, bytes]:
    from atlas.tpm import TpmKey

    if alg != "ES256":
        raise UsageError(f"a key in a TPM signs ES256, not {alg}")
    key = TpmKey.new()
    return *_core.keygen_for(name, key.spki, years), key.file()


def _missing(folder: Path) -> list[Path]:
    """The folder and those above it that are not there, deepest first."""
    return [place for place in (folder, *folder.parents) if not place.exists()]


def _create(path: Path, content: bytes, mode: int, made: list[Path]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    made.append(path)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(fd)


def _remove(made: list[Path]) -> None:
    """Only what this call made, last first."""
    for path in reversed(made):
        try:
            path.rmdir() if path.is_dir() else path.unlink()
        except OSError:
            continue


__all__ = ["GeneratedKeys", "Signer", "keygen", "load_signer", "request_timestamp"]
