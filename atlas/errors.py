"""Exceptions of Atlas. Three sentences are never confused: could not parse, checked and false, could not check.

    AtlasError
     +- UsageError          the caller broke the contract (also a ValueError)
     +- SystemFailure       the machine refused: could not check (also an OSError)
     |   +- FileChanged     a file changed while it was read
     |   +- NotFound        also a FileNotFoundError
     +- MalformedError      the bytes are not the format (also a ValueError)
     |   +- LimitError      beyond a stated limit
     |   +- KeyFileError    a key or certificate file that cannot be used, or a wrong password
     +- VerificationError   checked and false; `.verdict` where there is one
     +- InternalError       our bug, or the crypto library's

`.code` is the name of the C code (``ATLAS_E_CBOR``), `.where` the field or file, `.offset` the byte position, `.hint`
what to do.  `docs/errors.md` lists every code with its remedy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas.model import Verdict


class AtlasError(Exception):
    """Base of everything Atlas raises."""

    def __init__(
        self,
        text: str,
        *,
        code: str = "",
        where: str = "",
        offset: int | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.where = where
        self.offset = offset
        self.hint = hint

    def __str__(self) -> str:
        place = self.where
        if self.offset is not None:
            place += f" at byte {self.offset}" if place else f"byte {self.offset}"
        line = f"{place}: {self.text}" if place else self.text
        return f"{line}\n  {self.hint}" if self.hint else line


class UsageError(AtlasError, ValueError):
    """The caller broke the contract."""


class SystemFailure(AtlasError, OSError):
    """The machine refused; nothing was checked."""


class FileChanged(SystemFailure):
    """A file changed while it was read: an error, never a digest."""


class NotFound(SystemFailure, FileNotFoundError):
    """A file that is not there."""


class MalformedError(AtlasError, ValueError):
    """The bytes are not the format."""


class LimitError(MalformedError):
    """Beyond a stated limit."""


class KeyFileError(MalformedError):
    """A key or certificate file that cannot be used, or a wrong password."""


@contextlib.contextmanager
def in_file(name: str) -> Iterator[None]:
    """What is malformed in there is said with the name of the file."""
    try:
        yield
    except MalformedError as error:
        error.where = f"{name}: {error.where}" if error.where else name
        raise


class VerificationError(AtlasError):
    """Checked and false. `.verdict` holds every check where a whole verification ran."""

    verdict: Verdict | None = None


class InternalError(AtlasError):
    """A bug in Atlas, or a failure inside the crypto library."""


class AtlasWarning(UserWarning):
    """Atlas could not record something; the script goes on and the record has a gap."""


_BY_CODE: dict[int, type[AtlasError]] = {
    -202: NotFound,
    -204: FileChanged,
    -300: LimitError,
    -308: KeyFileError,
}
_BY_CLASS: dict[int, type[AtlasError]] = {
    1: UsageError,
    2: SystemFailure,
    3: MalformedError,
    4: VerificationError,
}


def from_core(code: int, name: str, where: str, offset: int | None, text: str) -> BaseException:
    """The exception for an error of the C core."""
    if name == "ATLAS_E_NOMEM":
        return MemoryError(text)
    kind = _BY_CODE.get(code) or _BY_CLASS.get(-code // 100, InternalError)
    return kind(text, code=name, where=where, offset=offset)
