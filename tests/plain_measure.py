"""docs/manifest.md, "Digests", once more in plain Python: slow, obvious, and written against the text only."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator

CHUNK = 1 << 20
SIDECARS = (b".c2pa", b".c2pa-index", b".tlog-proof", b".c2pa.tlog-proof")


def digest(data: bytes, alg: str = "sha256") -> bytes:
    return hashlib.new(alg, data).digest()


def tree_hash(entries: list[bytes], alg: str = "sha256") -> bytes:
    """RFC 6962, 2.1, as the RFC writes it."""
    if not entries:
        return digest(b"", alg)
    if len(entries) == 1:
        return digest(b"\x00" + entries[0], alg)
    k = 1 << (len(entries) - 1).bit_length() - 1
    return digest(b"\x01" + tree_hash(entries[:k], alg) + tree_hash(entries[k:], alg), alg)


def chunks(data: bytes) -> list[bytes]:
    return [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]


def file_tree(data: bytes, alg: str = "sha256") -> bytes:
    return tree_hash([digest(chunk, alg) for chunk in chunks(data)], alg)


def measured(data: bytes, alg: str = "sha256", *, flat: bool = True, tree: bool = True) -> tuple[object, ...]:
    """What the core must answer for a file of these bytes."""
    one = digest(data, alg)
    return (
        "file",
        (alg, one) if flat else None,
        (alg, file_tree(data, alg)) if tree else None,
        len(data),
        1,
        ("sha256", digest(one)) if flat and alg == "sha256" else None,
    )


def encode(path: bytes) -> str:
    return "".join(chr(b) if 0x20 < b < 0x7F and b != ord("%") else f"%{b:02X}" for b in path)


def is_ignored(path: bytes, ignore: Iterable[str]) -> bool:
    name = path.rpartition(b"/")[2]
    return any(os.fsencode(entry) == (path if "/" in entry else name) for entry in ignore)


def listed(root: str | os.PathLike[str], ignore: Iterable[str] = ()) -> Iterator[tuple[bytes, bytes]]:
    """(relative path, absolute path) of the files of a directory without links, in no order."""
    top = os.fsencode(os.fspath(root))
    ignored = tuple(ignore)
    for place, directories, names in os.walk(top):
        prefix = os.path.relpath(place, top)
        under = b"" if prefix == b"." else prefix + b"/"
        directories[:] = [name for name in directories if not is_ignored(under + name, ignored)]
        files = [name for name in names if not is_ignored(under + name, ignored)]
        owners = set(directories)
        for name in sorted(files, key=len):
            if not any(name.endswith(s) and name[: -len(s)] in owners for s in SIDECARS):
                owners.add(name)
                yield under + name, os.path.join(place, name)  # noqa: PTH118 - bytes


def index_of(files: dict[bytes, bytes], alg: str = "sha256") -> tuple[bytes, list[bytes]]:
    """The index of a directory with these files, and its lines."""
    lines = [
        f"{digest(data, alg).hex()} {file_tree(data, alg).hex()} {len(data)} {encode(path)}".encode()
        for path, data in sorted(files.items())
    ]
    return b"".join(line + b"\n" for line in [b"atlas-index 1 " + alg.encode(), *lines]), lines


def directory(files: dict[bytes, bytes], alg: str = "sha256") -> tuple[object, ...]:
    """What the core must answer for a directory with these files and no links."""
    index, lines = index_of(files, alg)
    flats = b"".join(digest(data) for _, data in sorted(files.items()))
    return (
        "directory",
        (alg, digest(index, alg)),
        (alg, tree_hash(lines, alg)),
        sum(map(len, files.values())),
        len(files),
        ("sha256", digest(flats)) if alg == "sha256" and all(map(_is_utf8, files)) else None,
        index,
        {},
    )


def _is_utf8(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True
