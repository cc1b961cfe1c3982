"""Serve a log's folder over HTTP: the files that tile clients read, and nothing else; and, with a token, an append.

Only names that the specification forms are looked up at all, so no request can leave the folder.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from http import HTTPStatus

from atlas.errors import LimitError, MalformedError, NotFound, UsageError
from atlas.files import StrPath
from atlas.remote.server import Reply, Request
from atlas.remote.source import MAX_BUNDLE_BYTES, MAX_CHECKPOINT_BYTES, MAX_ENTRY_BYTES, Folder

MIN_TOKEN_CHARACTERS = 16
_LEVEL = r"(?:[0-9]|[1-5][0-9]|6[0-3])"
_NUMBER = r"(?:x[0-9]{3}/){0,6}[0-9]{3}"
_WIDTH = r"(?:[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
_TILE = re.compile(rf"/(tile/(?:entries|{_LEVEL})/{_NUMBER}(?:\.p/{_WIDTH})?)")
_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}
_MUTABLE = {"Cache-Control": "no-cache"}

Add = Callable[[bytes], int]


class LogApp:
    """add: takes an entry and returns its index once it is durable; UsageError or MalformedError refuse the entry."""

    def __init__(self, folder: StrPath, *, add: Add | None = None, token: str = "") -> None:
        if add is not None and len(token) < MIN_TOKEN_CHARACTERS:
            raise UsageError(
                f"the token for POST /add has fewer than {MIN_TOKEN_CHARACTERS} characters",
                hint="make one with `openssl rand -hex 16`",
            )
        self._files = Folder(folder)
        self._add = add
        self._token = token.encode()

    def body_limit(self, method: str, path: str) -> int:
        return MAX_ENTRY_BYTES if (method, path) == ("POST", "/add") and self._add is not None else 0

    def answer(self, request: Request) -> Reply:
        if request.path == "/add" and self._add is not None:
            return self._append(request, self._add)
        if request.method not in ("GET", "HEAD"):
            return Reply(HTTPStatus.METHOD_NOT_ALLOWED, b"method not allowed\n", headers={"Allow": "GET, HEAD"})
        return self._read(request.path)

    def _read(self, path: str) -> Reply:
        try:
            if path == "/checkpoint":
                return Reply(
                    HTTPStatus.OK, self._files.read("checkpoint", limit=MAX_CHECKPOINT_BYTES), headers=_MUTABLE
                )
            found = _TILE.fullmatch(path)
            if found is not None:
                data = self._files.read(found[1], limit=MAX_BUNDLE_BYTES)
                return Reply(HTTPStatus.OK, data, kind="application/octet-stream", headers=_IMMUTABLE)
        except NotFound:
            pass
        return Reply(HTTPStatus.NOT_FOUND, b"not found\n", headers=_MUTABLE)

    def _append(self, request: Request, add: Add) -> Reply:
        if request.method != "POST":
            return Reply(HTTPStatus.METHOD_NOT_ALLOWED, b"method not allowed\n", headers={"Allow": "POST"})
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
            return Reply(HTTPStatus.UNAUTHORIZED, b"a token is required\n", headers={"WWW-Authenticate": "Bearer"})
        try:
            index = add(request.body)
        except (UsageError, MalformedError, LimitError) as error:
            return Reply(HTTPStatus.BAD_REQUEST, f"{error.text}\n".encode())
        return Reply(HTTPStatus.OK, b"%d\n" % index, headers=_MUTABLE)


__all__ = ["LogApp"]
