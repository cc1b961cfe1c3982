"""The static files of a tile log (c2sp.org/tlog-tiles): over HTTP, or in a folder. What they hold is not believed."""

from __future__ import annotations

import http.client
import os
import urllib.request
from pathlib import Path
from typing import Protocol

from atlas import web
from atlas.errors import NotFound, SystemFailure
from atlas.files import StrPath, read_regular

CHECKPOINT = "checkpoint"
MAX_CHECKPOINT_BYTES = 64 << 10
TILE_WIDTH = 256
HASH_BYTES = 32
MAX_ENTRY_BYTES = (1 << 16) - 1
MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + MAX_ENTRY_BYTES)


class Source(Protocol):
    """Where a log's files are read from. `where` names it in messages."""

    @property
    def where(self) -> str: ...

    def read(self, path: str, *, limit: int) -> bytes:
        """The whole file, of at most `limit` bytes; NotFound where the log has none."""
        ...


class Http:
    """A log below an http or https URL."""

    def __init__(self, url: str, *, timeout: float = web.TIMEOUT) -> None:
        self.where = url.rstrip("/")
        self._host = web.host_of(url, what="a log")
        self._timeout = timeout

    def read(self, path: str, *, limit: int) -> bytes:
        request = urllib.request.Request(f"{self.where}/{path}", headers={"Accept-Encoding": "gzip"})
        place = f"{self._host}: {path}"
        answer = web.exchange(request, host=place, limit=limit, timeout=self._timeout, accept=(200, 404))
        if answer.status == http.client.NOT_FOUND:
            raise NotFound("the log has no such file", where=place)
        return answer.body


class Folder:
    """A log in a folder of this machine: our own, or a copy."""

    def __init__(self, path: StrPath) -> None:
        self.where = os.fspath(path)
        if not Path(path).is_dir():
            raise NotFound("no such folder", where=self.where)

    def read(self, path: str, *, limit: int) -> bytes:
        return read_regular(Path(self.where, path), limit=limit)


def source_of(place: StrPath, *, timeout: float = web.TIMEOUT) -> Source:
    """A URL or a folder, as the user wrote it."""
    text = os.fspath(place)
    return Http(text, timeout=timeout) if text.startswith(("http://", "https://")) else Folder(place)


def tile_path(level: int | None, index: int, width: int = TILE_WIDTH) -> str:
    """tile/<L>/<N>[.p/<W>]; level None: a bundle of entries. 1234067 is x001/x234/067."""
    groups = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03d}")
    partial = f".p/{width}" if width < TILE_WIDTH else ""
    return f"tile/{'entries' if level is None else level}/{'/'.join(groups)}{partial}"


def read_tile(source: Source, level: int | None, index: int, width: int) -> bytes:
    """A tile or bundle of `width` items. A log may drop a partial one when it is full: then the beginning of that."""
    limit = MAX_BUNDLE_BYTES if level is None else TILE_WIDTH * HASH_BYTES
    try:
        data = source.read(tile_path(level, index, width), limit=limit)
        full = width == TILE_WIDTH
    except NotFound:
        if width == TILE_WIDTH:
            raise
        data = source.read(tile_path(level, index), limit=limit)
        full = True
    if level is None:
        return data
    if len(data) != (TILE_WIDTH if full else width) * HASH_BYTES:
        raise SystemFailure(f"a tile of {len(data)} bytes", where=f"{source.where}/{tile_path(level, index, width)}")
    return data[: width * HASH_BYTES]


__all__ = ["Folder", "Http", "Source", "read_tile", "source_of", "tile_path"]
