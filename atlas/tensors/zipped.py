"""Checkpoints of torch.save: a zip archive with a pickle and one stored record for each storage.

Read by the central directory alone, as torch does; what two readers could understand in two ways is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from atlas.errors import LimitError, MalformedError
from atlas.tensors.pickled import MAX_PICKLE_BYTES, picture
from atlas.tensors.place import FileBytes, Place, span_of
from atlas.tensors.table import ELEMENT_BYTES, MAX_TENSORS
from atlas.tensors.walk import View, Walk

MAGIC = b"PK\x03\x04"
MAX_DIRECTORY_BYTES = 256 << 20
# APPNOTE.TXT 4.3: local header, central header, zip64 end record and locator, end record
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_END = struct.Struct("<4s4H2IH")
_ALL32 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class _Record:
    header: int
    size: int
    start: int = 0


class _Archive:
    """Names to records; every record stored, whole, and apart from the others."""

    def __init__(self, file: FileBytes) -> None:
        self._file = file
        start, size, count = self._find_directory()
        self._end = start
        self.records: dict[str, _Record] = {}
        self.first = ""
        self._read_directory(start, file.read(start, size), count)
        self._locate()

    def refuse(self, text: str, offset: int | None = None) -> MalformedError:
        return MalformedError(text, where=self._file.where, offset=offset)

    def _find_directory(self) -> tuple[int, int, int]:
        """Offset, bytes and entries of the central directory, which reaches to the end records."""
        file = self._file
        at = file.size - _END.size
        if at < 0:
            raise self.refuse("is too short for a zip archive")
        magic, disk, first, here, count, size, start, comment = _END.unpack(file.read(at, _END.size))
        if magic != b"PK\x05\x06" or comment != 0:
            raise self.refuse("does not end like a zip archive of torch.save; is it complete?", at)
        if at >= _LOCATOR.size:
            magic, _disk, at64, _disks = _LOCATOR.unpack(file.read(at - _LOCATOR.size, _LOCATOR.size))
            if magic == b"PK\x06\x07":
                at -= _LOCATOR.size
                magic, more, _by, _need, disk, first, here, count, size, start = _END64.unpack(
                    file.read(at64, _END64.size)
                )
                if magic != b"PK\x06\x06" or at64 + 12 + more != at:
                    raise self.refuse("its zip64 end record is not where it is said to be", at64)
                at = at64
        if disk != 0 or first != 0 or here != count:
            raise self.refuse("is one part of several", at)
        if size > MAX_DIRECTORY_BYTES or count > 2 * MAX_TENSORS:
            raise LimitError(f"a directory of {count} entries", where=file.where)
        if start + size != at:
            raise self.refuse("its directory does not reach to its end", at)
        return start, size, count

    def _read_directory(self, start: int, data: bytes, count: int) -> None:
        at = 0
        for number in range(count):
            if len(data) - at < _CENTRAL.size:
                raise self.refuse("its directory ends in the middle of an entry", start + at)
            fields = _CENTRAL.unpack_from(data, at)
            magic, flags, method = fields[0], fields[3], fields[4]
            stored, size, names, extras, comments, header = (*fields[8:13], fields[16])
            after = at + _CENTRAL.size + names + extras + comments
            if magic != b"PK\x01\x02" or after > len(data):
                raise self.refuse("its directory is not one", start + at)
            if method != 0 or flags & 0x2041:
                raise self.refuse("a record is compressed or encrypted", start + at)
            name = data[at + _CENTRAL.size : at + _CENTRAL.size + names].decode("utf-8", "surrogateescape")
            extra = data[at + _CENTRAL.size + names : after - comments]
            size, stored, header = self._wide(extra, [size, stored, header], start + at)
            if size != stored or name in self.records:
                raise self.refuse(f"record {name!r} stands twice, or is not simply stored", start + at)
            self.records[name] = _Record(header, size)
            self.first = self.first if number else name
            at = after
        if at != len(data):
            raise self.refuse("bytes in its directory that belong to no entry", start + at)

    def _wide(self, extra: bytes, values: list[int], at: int) -> list[int]:
        """APPNOTE 4.5.3: in place of each number that is all ones, one of 64 bits."""
        while len(extra) >= 4:
            kind, n = struct.unpack_from("<HH", extra)
            body, extra = extra[4 : 4 + n], extra[4 + n :]
            if kind == 1:
                for i, value in enumerate(values):
                    if value == _ALL32:
                        if len(body) < 8:
                            raise self.refuse("a zip64 field that is too short", at)
                        values[i], body = struct.unpack_from("<Q", body)[0], body[8:]
                break
        return values

    def _locate(self) -> None:
        """The record's bytes come after the local header, whose name and extra field have lengths of their own."""
        file, before, owner = self._file, 0, ""
        for name, record in sorted(self.records.items(), key=lambda item: item[1].header):
            if record.header < before:
                raise self.refuse(f"records {owner!r} and {name!r} overlap", record.header)
            fields = _LOCAL.unpack(file.read(record.header, _LOCAL.size))
            magic, flags, method, names, extras = fields[0], fields[2], fields[3], fields[9], fields[10]
            start = record.header + _LOCAL.size + names + extras
            if magic != MAGIC or method != 0 or flags & 0x2041:
                raise self.refuse(f"record {name!r} has no local header", record.header)
            if file.read(record.header + _LOCAL.size, names) != name.encode("utf-8", "surrogateescape"):
                raise self.refuse(f"record {name!r} has another name in its local header", record.header)
            if record.size > self._end - start:
                raise self.refuse(f"record {name!r} reaches beyond its place", record.header)
            self.records[name] = _Record(record.header, record.size, start)
            before, owner = start + record.size, name

    def small(self, name: str, limit: int) -> bytes:
        record = self.records[name]
        if record.size > limit:
            raise LimitError(f"record {name!r} is larger than {limit} bytes", where=self._file.where)
        return self._file.read(record.start, record.size)


def places(file: FileBytes) -> Iterator[Place]:
    archive = _Archive(file)
    prefix = archive.first.partition("/")[0] + "/"
    if any(not name.startswith(prefix) for name in archive.records):
        raise archive.refuse("its records are not in one folder")
    if f"{prefix}data.pkl" not in archive.records or f"{prefix}constants.pkl" in archive.records:
        raise archive.refuse("is a zip archive, but no checkpoint of torch.save (TorchScript is not read)")
    big = False
    if f"{prefix}byteorder" in archive.records:
        order = archive.small(f"{prefix}byteorder", 64)
        if order not in (b"little", b"big"):
            raise archive.refuse("a byte order that is neither little nor big")
        big = order == b"big"
    pickled = archive.small(f"{prefix}data.pkl", MAX_PICKLE_BYTES)
    root = picture(pickled, file.where)
    for name, view in Walk(file.where, pickle_bytes=len(pickled)).tensors(root):
        yield _place(archive, f"{prefix}data/{view.storage.key}", name, view, big_endian=big)


def _place(archive: _Archive, record_name: str, name: str, view: View, *, big_endian: bool) -> Place:
    record = archive.records.get(record_name)
    storage, element = view.storage, ELEMENT_BYTES[view.dtype]
    if record is None or record.size != storage.numel * ELEMENT_BYTES[storage.dtype]:
        raise archive.refuse(f"{name}: its storage is not there, or of another size than its description")
    if (view.offset + span_of(view.shape, view.stride)) * element > record.size:
        raise archive.refuse(f"{name}: reaches beyond its storage")
    if big_endian and storage.untyped and element > 1:
        raise archive.refuse(f"{name}: an untyped storage in a big-endian file, which torch reads as it is")
    return Place(
        name, view.dtype, view.shape, view.stride, record.start + view.offset * element, big_endian=big_endian
    )
