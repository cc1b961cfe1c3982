"""The digest cache: a file that did not change since it was measured is not read again.

    $ATLAS_CACHE_DIR/key         32 random bytes, for its owner only (default: the user's data directory, atlas/cache)
                     sha256      entries under an HMAC with the key, bound to this start of the machine

"Did not change" is what the file system says (inode, size, times): docs/measure.md says whom that convinces. Whatever
goes wrong with the cache itself (damaged, forged, locked, full disk, somebody else's) is a warning and a slower answer.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from atlas import _core
from atlas.errors import AtlasError, UsageError
from atlas.files import home_directory, open_regular, write_atomic
from atlas.model import CACHE_LEVELS, CacheLevel, CacheUse

_log = logging.getLogger("atlas.cache")

KEY_BYTES = 32
MAX_BYTES = 512 << 20
LOCK_SECONDS = 1.0
SAMPLE_SHARE = 10_000  # of a million: how many of the known files `stat+sample` reads all the same
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class _UnusableError(Exception):
    """This time without a cache; the text says why."""


def level_of(text: str | None) -> CacheLevel:
    """A level by its name; "" and None are off."""
    for level in CACHE_LEVELS:
        if level == (text or "off"):
            return level
    raise UsageError(f"no such cache level: {text!r}", hint=f"one of: {', '.join(CACHE_LEVELS)}")


def cache_directory() -> Path:
    """ATLAS_CACHE_DIR, else atlas/cache in the user's data directory."""
    chosen = os.environ.get("ATLAS_CACHE_DIR", "")
    if chosen:
        return Path(chosen).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME", "")
    base = Path(data) if data.startswith("/") else home_directory() / ".local" / "share"
    return base / "atlas" / "cache"


def _boot() -> bytes:
    try:
        return _BOOT_ID.read_bytes().strip()
    except OSError as error:
        raise _UnusableError(f"the start of this machine has no name: {error}") from error


def _make_key(path: Path) -> None:
    """It appears whole; of two processes that make one, one wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".key-{os.urandom(8).hex()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(fd, os.urandom(KEY_BYTES))
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(temporary)
    finally:
        os.close(fd)
        temporary.unlink()


def _read_key(path: Path) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        _make_key(path)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & 0o077:
            raise _UnusableError(f"{path} is not a file of yours that nobody else can read: remove it")
        key = os.read(fd, KEY_BYTES + 1)
    finally:
        os.close(fd)
    if len(key) != KEY_BYTES:
        raise _UnusableError(f"{path} is not {KEY_BYTES} bytes long: remove it")
    return key


@dataclass(slots=True)
class Opened:
    """A cache for one measurement. `core` goes to the C core; `close` keeps what is new and says what was used."""

    level: CacheLevel
    core: _core.Cache | None
    path: Path
    warning: str = ""

    @property
    def share(self) -> int:
        return SAMPLE_SHARE if self.level == "stat+sample" else 0

    def close(self) -> CacheUse:
        if self.core is None:
            return CacheUse("off", warning=self.warning)
        use = self.core.use()
        if use["false"]:
            self._warn("a file was not what the digest cache said: all was read again, and the cache is empty now")
        if self.core.changed:
            try:
                self._save(self.core, forget=use["false"])
            except (AtlasError, OSError, _UnusableError) as error:
                self._warn(f"the digest cache was not saved: {error}")
        return CacheUse(
            self.level if use["trusted"] and not use["false"] else "off",
            files=use["files"],
            checked=use["checked"],
            verity=use["verity"],
            warning=self.warning,
        )

    def _warn(self, text: str) -> None:
        self.warning = self.warning or text
        _log.warning("%s", text)

    def _save(self, core: _core.Cache, *, forget: bool) -> None:
        with _locked(self.path):
            if not forget:
                core.merge(_read(self.path))
            write_atomic(self.path, core.save())


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        end = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise _UnusableError(f"{path}.lock is held by another process") from None
                time.sleep(0.01)
        yield
    finally:
        os.close(fd)


def _read(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(min(os.fstat(file.fileno()).st_size, MAX_BYTES))
    except FileNotFoundError:
        return b""


def open_cache(level: CacheLevel, alg: str) -> Opened:
    """The user's cache; without one where it cannot be used."""
    path = cache_directory() / alg
    opened = Opened(level, None, path)
    if level == "off":
        return opened
    try:
        opened.core = _core.Cache(alg, _read_key(path.with_name("key")), _boot(), _read(path))
    except (AtlasError, OSError, _UnusableError) as error:
        opened._warn(f"measuring without the digest cache: {error}")
        return opened
    if opened.core.state == "damaged":
        opened._warn(f"{path} is damaged, or was not written with your key: it is not used, and made anew")
    return opened
