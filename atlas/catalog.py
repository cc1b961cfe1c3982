"""The catalogue of the store: an SQLite file that says which manifests speak of a digest.

It is a hint and nothing more: the store opens and checks every manifest that it names. So it may be deleted, be
damaged, be locked by somebody else or stand on a read-only disk; it is rebuilt from the objects, or gone without.
Connections live for one call, so that forks, threads and a replaced file never meet a stale one.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

_log = logging.getLogger("atlas.store")

VERSION = 1
BUSY_SECONDS = 5.0
_SCHEMA = """CREATE TABLE binding (value BLOB NOT NULL, alg TEXT NOT NULL, sha256 TEXT NOT NULL,
                                  PRIMARY KEY (value, alg, sha256)) WITHOUT ROWID"""

# SQLite has locks of its own, and a child that is forked while another thread holds one waits for it for ever.
# So no fork happens while a connection is open.
_no_fork = threading.Lock()
os.register_at_fork(before=_no_fork.acquire, after_in_parent=_no_fork.release, after_in_child=_no_fork.release)

_T = TypeVar("_T")
Row = tuple[bytes, str, str]  # digest, its algorithm, SHA-256 of the manifest


class UnavailableError(Exception):
    """The catalogue cannot be used now; the objects can."""


def _damaged(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    other_tables = code == sqlite3.SQLITE_ERROR and ("no such" in str(error) or "already exists" in str(error))
    return other_tables or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Catalog:
    """`objects` yields the rows of everything in the store, for a rebuild."""

    def __init__(self, path: Path, objects: Callable[[], Iterable[Row]], *, busy_seconds: float = BUSY_SECONDS) -> None:
        self.path = path
        self._objects = objects
        self._busy = busy_seconds

    def add(self, rows: Iterable[Row]) -> None:
        rows = list(rows)

        def insert(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR IGNORE INTO binding VALUES (?, ?, ?)", rows)

        self._mended(lambda: self._write(insert))

    def lookup(self, value: bytes, alg: str) -> list[str]:
        """SHA-256 of every manifest that is said to speak of this digest."""
        query = "SELECT sha256 FROM binding WHERE value = ? AND alg = ?"
        return self._mended(lambda: [str(row[0]) for row in self._read(query, (value, alg))])

    def count(self) -> int:
        """Number of manifests it names."""
        rows = self._mended(lambda: self._read("SELECT count(DISTINCT sha256) FROM binding", ()))
        return int(rows[0][0])

    def rebuild(self) -> None:
        """Forget everything and read the objects again."""

        def refill(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM binding")
            self._fill(connection)

        self._mended(lambda: self._write(refill))

    # ---------------------------------------------------------------------------------------- connections

    def _fill(self, connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT OR IGNORE INTO binding VALUES (?, ?, ?)", self._objects())

    @contextlib.contextmanager
    def _connect(self, *, write: bool) -> Iterator[sqlite3.Connection]:
        from urllib.parse import quote  # slow to import, and most programs that import atlas never come here

        uri = f"file:{quote(os.fspath(self.path))}?mode={'rwc' if write else 'ro'}"
        with _no_fork:
            connection = sqlite3.connect(uri, uri=True, timeout=self._busy, isolation_level=None)
            try:
                yield connection
            finally:
                connection.close()

    def _write(self, change: Callable[[sqlite3.Connection], None]) -> None:
        with self._connect(write=True) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._create(connection)
                change(connection)
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def _create(self, connection: sqlite3.Connection) -> None:
        """Inside a write transaction, so that of many processes one creates and fills it and the others wait."""
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            connection.execute(_SCHEMA)
            self._fill(connection)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        elif version != VERSION:
            raise UnavailableError(f"{self.path} was made by another version of Atlas")

    def _read(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        if not self.path.exists():
            self._write(lambda _connection: None)
        with self._connect(write=False) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == VERSION:
                return connection.execute(query, values).fetchall()
        if version != 0:
            raise UnavailableError(f"{self.path} was made by another version of Atlas")
        self._write(lambda _connection: None)
        with self._connect(write=False) as connection:
            return connection.execute(query, values).fetchall()

    # --------------------------------------------------------------------------------------------- repair

    def _mended(self, action: Callable[[], _T]) -> _T:
        """Run an action; if the file turns out to be damaged, replace it and run the action once more."""
        try:
            try:
                return action()
            except sqlite3.Error as error:
                if not _damaged(error):
                    raise
                _log.warning("the index %s is damaged (%s): building it again from the objects", self.path, error)
            self._replace()
            return action()
        except (sqlite3.Error, OSError) as error:
            raise UnavailableError(f"{self.path}: {error}") from error

    def _replace(self) -> None:
        """One process at a time; whoever comes second finds a sound file and leaves it alone."""
        lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._sound():
                self.path.replace(f"{self.path}.damaged")
                for suffix in ("-journal", "-wal", "-shm"):  # they would be played into the new file
                    Path(f"{self.path}{suffix}").unlink(missing_ok=True)
                self._write(lambda _connection: None)
        finally:
            os.close(lock)

    def _sound(self) -> bool:
        try:
            with self._connect(write=False) as connection:
                connection.execute("SELECT sha256 FROM binding LIMIT 1").fetchall()
                return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
        except sqlite3.Error:
            return False
