"""From a file to its table."""

from __future__ import annotations

import os
from collections.abc import Iterator

from atlas.errors import FileChanged, MalformedError
from atlas.files import StrPath, open_regular
from atlas.tensors import header, zipped
from atlas.tensors.place import FileBytes, Known, Place, digest
from atlas.tensors.table import Table


def _file(fd: int, where: str) -> FileBytes:
    return FileBytes(fd, os.fstat(fd).st_size, where)


def is_checkpoint(fd: int, where: str = "") -> bool:
    """Whether an open file looks like one of the formats that are read here; its position stays."""
    file = _file(fd, where)
    return file.size >= 4 and (file.read(0, 4) == zipped.MAGIC or header.looks_like_it(file))


def _places(file: FileBytes) -> Iterator[Place]:
    if file.size >= 4 and file.read(0, 4) == zipped.MAGIC:
        return zipped.places(file)
    if header.looks_like_it(file):
        return header.places(file)
    raise MalformedError(
        "is neither a checkpoint of torch.save (zip) nor of safetensors",
        where=file.where,
        hint="the old format of torch.save and pickles of other programs have no tensor table",
    )


def table_of_fd(fd: int, where: str, *, known: Known | None = None) -> Table:
    """The tensor table of an open checkpoint. Raises MalformedError for what has none, FileChanged when it changes."""
    file = _file(fd, where)
    before = _version(fd)
    table = digest(_places(file), file, known)
    if _version(fd) != before:
        raise FileChanged("changed while its tensors were read", where=where)
    return table


def table_of_file(path: StrPath) -> Table:
    with open_regular(path) as file:
        return table_of_fd(file.fileno(), os.fspath(path))


def _version(fd: int) -> tuple[int, ...]:
    s = os.fstat(fd)
    return s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns
