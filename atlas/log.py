"""An embedded transparency log: a folder of static files (c2sp.org/tlog-tiles) that this machine writes.

    FOLDER/checkpoint, tile/...                what everybody may read
           .state/...                          the writer's: head, lock, the commit under way
    $ATLAS_STORE/logs/<sha256 of the origin>/  what this user knows of the log, and the folder cannot change:
           vkey                                its verifier key
           key                                 its private key, or key-file: where that is
           head                                the newest head that was seen

docs/log.md says how to run one, csrc/stage/log.h what an append promises.
"""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from atlas import _core
from atlas.errors import KeyFileError, MalformedError, NotFound, SystemFailure, UsageError
from atlas.files import StrPath, read_regular, write_atomic
from atlas.remote.note import SigningKey, VerifierKey
from atlas.store import default_directory

MAX_ENTRY_BYTES = (1 << 16) - 1
MAX_KEY_BYTES = 4096
WAIT_SECONDS = 60.0  # for another process' commit
_LEAF_BYTES = 32


@dataclass(frozen=True, slots=True)
class Appended:
    """Entries that are in the log, on the disk: `first`, and the `count` - 1 after it."""

    first: int
    count: int
    size: int  # of the tree that has them
    checkpoint: bytes  # of that tree, signed


@dataclass(frozen=True, slots=True)
class Head:
    size: int
    root: bytes
    checkpoint: bytes  # signed


@dataclass(frozen=True, slots=True)
class Inclusion:
    """The path from an entry to the root of a tree; it was checked."""

    index: int
    size: int
    leaf: bytes
    path: tuple[bytes, ...]


# ---------------------------------------------------------------------------------------------- what the user knows


def memory_of(origin: str, *, store: StrPath | None = None) -> Path:
    """The folder of what this user knows of the log with this origin."""
    base = Path(store).expanduser().absolute() if store is not None else default_directory()
    return base / "logs" / hashlib.sha256(origin.encode()).hexdigest()


def origin_of(folder: StrPath) -> str:
    """The origin that the folder itself names: where to look, and nothing to trust."""
    try:
        return read_regular(Path(folder, ".state", "origin"), limit=MAX_KEY_BYTES).decode()
    except (NotFound, UnicodeDecodeError):
        raise MalformedError(
            "is no log of Atlas", code="ATLAS_E_LOG", where=os.fspath(folder), hint="`atlas log init` makes one"
        ) from None


def known_key(origin: str, *, store: StrPath | None = None) -> str | None:
    """The verifier key that this user's store has for the origin."""
    return _line(memory_of(origin, store=store) / "vkey")


def _line(path: Path) -> str | None:
    try:
        return read_regular(path, limit=MAX_KEY_BYTES).decode("utf-8", "replace").strip()
    except NotFound:
        return None


def _read_secret(path: StrPath) -> SigningKeyText:
    text = read_regular(path, limit=MAX_KEY_BYTES).decode("utf-8", "replace").strip()
    try:
        return SigningKeyText(text, SigningKey(text).verifier())
    except UsageError as error:
        raise KeyFileError(f"not the private key of a log: {error.text}", where=os.fspath(path)) from None


@dataclass(frozen=True, slots=True, repr=False)
class SigningKeyText:
    text: str
    vkey: VerifierKey


def _write_secret(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


def _known_secret(memory: Path, folder: StrPath) -> SigningKeyText:
    place = _line(memory / "key-file")
    try:
        return _read_secret(place or memory / "key")
    except NotFound:
        raise NotFound(
            "this user has no key for the log",
            where=os.fspath(folder),
            hint="whoever made the log has it; give it with key=, or --key",
        ) from None


def _made(memory: Path) -> Path:
    try:
        memory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SystemFailure(
            f"the log cannot be remembered: {error.strerror}",
            where=str(memory),
            hint="set ATLAS_STORE to a directory that you can write to",
        ) from error
    return memory


# ------------------------------------------------------------------------------------------------------------- the log

_open: weakref.WeakSet[TileLog] = weakref.WeakSet()


def _forked() -> None:
    for log in list(_open):
        log._core_log.forked()


os.register_at_fork(after_in_child=_forked)


class TileLog:
    """An open log. Any number of threads may use it; those that append at the same time share a commit.

    key: a file with the log's private key, where the user's store does not have it. vkey: its verifier key, likewise.
    read_only: nothing is appended, so no private key is needed; what a crash left is still put in order.
    """

    def __init__(
        self,
        folder: StrPath,
        *,
        key: StrPath | None = None,
        vkey: str | None = None,
        read_only: bool = False,
        store: StrPath | None = None,
        wait: float = WAIT_SECONDS,
    ) -> None:
        self.folder = Path(folder).expanduser().absolute()
        origin = VerifierKey.parse(vkey).name if vkey else origin_of(self.folder)
        memory = memory_of(origin, store=store)
        known = _line(memory / "vkey")
        secret = None if read_only else _read_secret(key) if key is not None else _known_secret(memory, self.folder)
        chosen = vkey or (secret.vkey.text if key is not None and secret is not None else known)
        if chosen is None:
            raise UsageError(
                f"this user does not know the log {origin!r}",
                where=str(self.folder),
                hint="its operator has the verifier key: give it with vkey=, or --log",
            )
        if known is not None and known != chosen:
            raise UsageError("the user's store has another key for this log", where=str(memory / "vkey"))
        self.origin = origin
        self.vkey = chosen
        self._memory = _made(memory)
        self._secret = secret.text.encode() if secret is not None else b""
        self._wait_ms = int(wait * 1000)
        self._core_log = self._opened()
        if known is None:
            write_atomic(self._memory / "vkey", f"{chosen}\n".encode())
        _open.add(self)

    @classmethod
    def init(cls, folder: StrPath, *, origin: str, key: StrPath | None = None, store: StrPath | None = None) -> TileLog:
        """Make a log without entries in a new or empty folder, and open it.

        key: a file with its private key; without one a key is made and kept in the user's store.
        """
        place = Path(folder).expanduser().absolute()
        memory = _made(memory_of(origin, store=store))
        if (memory / "head").exists():
            raise UsageError(
                f"this user has a log with the origin {origin!r} already",
                where=str(memory),
                hint="an origin is for one log, for ever: choose another",
            )
        secret = _chosen_secret(memory, origin, key)
        place.parent.mkdir(parents=True, exist_ok=True)
        _core.log_init(str(place), str(memory / "head"), secret.vkey.text, secret.text.encode())
        write_atomic(memory / "vkey", f"{secret.vkey.text}\n".encode())
        if key is not None:
            write_atomic(memory / "key-file", f"{Path(key).expanduser().absolute()}\n".encode())
        return cls(place, store=store)

    def _opened(self) -> _core.Log:
        log = _core.Log(str(self.folder), str(self._memory / "head"), self.vkey, self._secret, self._wait_ms)
        self._process = os.getpid()
        return log

    @property
    def _core(self) -> _core.Log:
        """A child of fork has a log of its own: its parent's threads and lock are not there."""
        if self._process != os.getpid():
            self._core_log = self._opened()
        return self._core_log

    @property
    def warning(self) -> str:
        """What the file system below the log cannot promise; empty when all is well."""
        return self._core.warning

    # ------------------------------------------------------------------------------------------------------- writing

    def append(self, entries: Sequence[bytes]) -> Appended:
        """Append them, all or none. On the disk when this returns; an error leaves open whether they are."""
        first, size, checkpoint = self._core.append(entries)
        return Appended(first, len(entries), size, checkpoint)

    def add(self, entry: bytes) -> int:
        """Append one entry; its index. For `LogApp(add=...)`."""
        return self.append([entry]).first

    def publish(self, note: bytes) -> None:
        """Show the newest checkpoint with more signatures: those that witnesses gave."""
        self._core.publish(note)

    # ------------------------------------------------------------------------------------------------------- reading

    def refresh(self) -> Head:
        """What the log has now, other processes' entries included."""
        self._core.refresh()
        return self.head()

    def head(self) -> Head:
        return Head(*self._core.head())

    def prove(self, index: int, size: int | None = None) -> Inclusion:
        """That the entry is in the tree of that size (the newest that this process knows)."""
        size = self.head().size if size is None else size
        leaf, path = self._core.prove(index, size)
        return Inclusion(index, size, leaf, tuple(path))

    def consistency(self, size1: int, size2: int | None = None) -> list[bytes]:
        """The proof that the tree of size2 (the newest) begins with that of size1."""
        return self._core.consistency(size1, self.head().size if size2 is None else size2)

    def find(self, leaf: bytes) -> int | None:
        """The index of the newest entry with this leaf hash."""
        if len(leaf) != _LEAF_BYTES:
            raise UsageError("a leaf hash has 32 bytes")
        return self._core.find(leaf)

    def check(self) -> tuple[int, list[tuple[str, str]]]:
        """Read and hash everything: how many files are wrong, and which, with what is wrong (of the first 1000)."""
        return self._core.check()


def _chosen_secret(memory: Path, origin: str, key: StrPath | None) -> SigningKeyText:
    if key is not None:
        secret = _read_secret(key)
    elif (memory / "key").exists():  # an init that was cut off
        secret = _read_secret(memory / "key")
    else:
        _, text = SigningKey.generate(origin)
        _write_secret(memory / "key", text)
        secret = _read_secret(memory / "key")
    if secret.vkey.name != origin:
        raise UsageError(
            f"the key is one of {secret.vkey.name!r}, not of {origin!r}", hint="a key carries the origin as its name"
        )
    return secret


__all__ = ["Appended", "Head", "Inclusion", "TileLog", "known_key", "memory_of", "origin_of"]
