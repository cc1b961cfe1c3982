"""Small FUSE file systems that behave like configfs-tsm and like the measurement registers of a TDX guest in sysfs: the
kernel side of evidence collection, failures included.

A directory that is made in it holds the attributes at once; a write to `inblob` raises `generation`; reading `outblob`
gives what `quote` makes of the bytes written. Every operation can be made to fail. Speaks FUSE 7.31 itself.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

LOOKUP, FORGET, GETATTR, SETATTR, MKDIR, UNLINK, RMDIR = 1, 2, 3, 4, 9, 10, 11
OPEN, READ, WRITE, RELEASE, FLUSH, INIT, OPENDIR, RELEASEDIR = 14, 15, 16, 18, 25, 26, 27, 29
INTERRUPT, BATCH_FORGET = 36, 42
DIRECT_IO = 1
ROOT = 1
ATTRIBUTES = ("inblob", "outblob", "auxblob", "provider", "generation")


def refuse_to_be_asked(data: bytes) -> bytes:
    raise AssertionError("no quote was set")


@dataclass
class Host:
    """What the machine behind the file system does."""

    provider: bytes = b"tdx_guest\n"
    quote: Callable[[bytes], bytes] = refuse_to_be_asked
    aux: bytes | None = None
    errors: dict[str, list[int]] = field(default_factory=dict)  # "mkdir", "write inblob", ...: one errno per call
    interfere: int = 0  # so many times somebody else writes too
    missing: tuple[str, ...] = ()
    entries_made: list[str] = field(default_factory=list)
    entries_left: list[str] = field(default_factory=list)
    written: list[bytes] = field(default_factory=list)

    def fail(self, what: str) -> None:
        if self.errors.get(what):
            raise OSError(self.errors[what].pop(0), what)


class Entry:
    def __init__(self, name: str) -> None:
        self.name = name
        self.inblob = b""
        self.generation = 0


class Tsm:
    """Mounted at `path` while the `with` lasts. PermissionError where mounting is not allowed."""

    def __init__(self, path: Path, host: Host) -> None:
        self.path = path
        self.host = host
        self._entries: dict[int, Entry] = {}  # by node; attribute k of node n is n + 1 + k
        self._next = 16
        self._libc = ctypes.CDLL(None, use_errno=True)

    def __enter__(self) -> Path:
        self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._fd},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}".encode()
        if self._libc.mount(b"tsm", os.fsencode(self.path), b"fuse.tsm", 6, options) != 0:
            os.close(self._fd)
            raise PermissionError(ctypes.get_errno(), "mount")
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self.path

    def __exit__(self, *_: object) -> None:
        self._libc.umount2(os.fsencode(self.path), 2)
        self._thread.join(10)
        os.close(self._fd)
        self.host.entries_left = [entry.name for entry in self._entries.values()]

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._fd, 1 << 18)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    continue
                return  # unmounted
            _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
            if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            try:
                body, code = self._answer(opcode, node, request[40:]), 0
            except OSError as error:
                body, code = b"", -(error.errno or errno.EIO)
            except Exception:
                body, code = b"", -errno.EIO
            try:
                os.write(self._fd, struct.pack("<IiQ", 16 + len(body), code, unique) + body)
            except OSError:
                continue

    def _answer(self, opcode: int, node: int, body: bytes) -> bytes:
        if opcode == INIT:
            return struct.pack("<IIIIHHIIHH32x", 7, 31, 0, 0, 16, 16, 1 << 17, 1, 0, 0)
        if opcode == LOOKUP:
            return self._entry_out(self._find(node, _text(body)))
        if opcode in (GETATTR, SETATTR):
            return struct.pack("<QII", 0, 0, 0) + self._attr(node)
        if opcode == MKDIR:
            return self._mkdir(_text(body[8:]))
        if opcode == RMDIR:
            self._rmdir(_text(body))
            return b""
        if opcode in (OPEN, OPENDIR):
            self.host.fail(f"open {self._attribute(node)}" if opcode == OPEN else "opendir")
            return struct.pack("<QII", 0, DIRECT_IO, 0)
        if opcode == READ:
            offset, size = struct.unpack_from("<QI", body, 8)
            return self._read(node, offset)[offset : offset + size]
        if opcode == WRITE:
            (size,) = struct.unpack_from("<I", body, 16)
            return self._write(node, body[40 : 40 + size])
        if opcode in (RELEASE, RELEASEDIR, FLUSH):
            return b""
        raise OSError(errno.ENOSYS, "not offered")

    # ------------------------------------------------------------------------------------------------ nodes

    def _owner(self, node: int) -> tuple[Entry, str]:
        base = node & ~0xF
        return self._entries[base], ATTRIBUTES[node - base - 1]

    def _attribute(self, node: int) -> str:
        return self._owner(node)[1]

    def _find(self, parent: int, name: str) -> int:
        if parent == ROOT:
            for node, entry in self._entries.items():
                if entry.name == name:
                    return node
        elif parent in self._entries and name in self._offered():
            return parent + 1 + ATTRIBUTES.index(name)
        raise OSError(errno.ENOENT, name)

    def _offered(self) -> set[str]:
        without = {*self.host.missing, *(() if self.host.aux is not None else ("auxblob",))}
        return set(ATTRIBUTES) - without

    def _attr(self, node: int) -> bytes:
        directory = self._is_directory(node)
        mode = stat.S_IFDIR | 0o755 if directory else stat.S_IFREG | 0o600
        head = struct.pack("<QQQQQQIII", node, 0, 0, 0, 0, 0, 0, 0, 0)
        return head + struct.pack("<IIIIIII", mode, 1, os.getuid(), os.getgid(), 0, 4096, 0)

    def _is_directory(self, node: int) -> bool:
        return node == ROOT or node in self._entries

    def _entry_out(self, node: int) -> bytes:
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + self._attr(node)

    # ------------------------------------------------------------------------------------------ what configfs does

    def _mkdir(self, name: str) -> bytes:
        self.host.fail("mkdir")
        node, self._next = self._next, self._next + 16
        self._entries[node] = Entry(name)
        self.host.entries_made.append(name)
        return self._entry_out(node)

    def _rmdir(self, name: str) -> None:
        del self._entries[self._find(ROOT, name)]

    def _read(self, node: int, offset: int) -> bytes:
        entry, attribute = self._owner(node)
        if offset == 0:
            self.host.fail(f"read {attribute}")
        if attribute == "outblob":
            if offset == 0 and self.host.interfere > 0:
                self.host.interfere -= 1
                entry.generation += 1
            return self.host.quote(entry.inblob)
        if attribute == "generation":
            return b"%d\n" % entry.generation
        if attribute == "auxblob":
            return self.host.aux or b""
        if attribute == "provider":
            return self.host.provider
        raise OSError(errno.EACCES, attribute)

    def _write(self, node: int, data: bytes) -> bytes:
        entry, attribute = self._owner(node)
        self.host.fail(f"write {attribute}")
        if attribute != "inblob" or len(data) > 64:
            raise OSError(errno.EINVAL, attribute)
        entry.inblob = data
        entry.generation += 1
        self.host.written.append(data)
        return struct.pack("<II", len(data), 0)


# ------------------------------------------------------------------------------------------- measurement registers


@dataclass
class Registers:
    """tdx_guest/measurements: reading gives 48 bytes, writing 48 bytes extends."""

    values: dict[str, bytes] = field(
        default_factory=lambda: {f"{name}:sha384": bytes(48) for name in ("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3")}
    )
    deaf: bool = False  # takes what is written and extends nothing
    others: int = 0  # so many times somebody else extends right after a write
    writes: list[bytes] = field(default_factory=list)

    def extend(self, name: str, digest: bytes) -> None:
        self.values[name] = hashlib.sha384(self.values[name] + digest).digest()


class Measurements(Tsm):
    def __init__(self, path: Path, host: Host, registers: Registers) -> None:
        super().__init__(path, host)
        self.registers = registers
        self.names = list(registers.values)

    def _attribute(self, node: int) -> str:
        return self.names[node - ROOT - 1]

    def _find(self, parent: int, name: str) -> int:
        if parent != ROOT or name not in self.names or name in self.host.missing:
            raise OSError(errno.ENOENT, name)
        return ROOT + 1 + self.names.index(name)

    def _is_directory(self, node: int) -> bool:
        return node == ROOT

    def _read(self, node: int, offset: int) -> bytes:
        name = self._attribute(node)
        self.host.fail(f"read {name}")
        return self.registers.values[name]

    def _write(self, node: int, data: bytes) -> bytes:
        name = self._attribute(node)
        self.host.fail(f"write {name}")
        if len(data) != 48:
            raise OSError(errno.EINVAL, name)
        if not name.startswith(("rtmr2", "rtmr3")):
            raise OSError(errno.EIO, name)  # the TDX module lets a guest extend these two
        self.registers.writes.append(data)
        if not self.registers.deaf:
            self.registers.extend(name, data)
        if self.registers.others > 0:
            self.registers.others -= 1
            self.registers.extend(name, hashlib.sha384(b"somebody else").digest())
        return struct.pack("<II", len(data), 0)


# ---------------------------------------------------------------------------------------------------- the device

IOCTL, GET_REPORT0 = 39, 0xC4405401


@dataclass
class Device:
    """/dev/tdx_guest: an ioctl that takes 64 bytes and gives a TDREPORT."""

    report: Callable[[bytes], bytes]
    name: str = "tdx_guest"


class TdxGuest(Tsm):
    def __init__(self, path: Path, host: Host, device: Device) -> None:
        super().__init__(path, host)
        self.device = device

    def _attribute(self, node: int) -> str:
        return self.device.name

    def _find(self, parent: int, name: str) -> int:
        if parent != ROOT or name != self.device.name:
            raise OSError(errno.ENOENT, name)
        return ROOT + 1

    def _is_directory(self, node: int) -> bool:
        return node == ROOT

    def _answer(self, opcode: int, node: int, body: bytes) -> bytes:
        if opcode != IOCTL:
            return super()._answer(opcode, node, body)
        _, _, command, _, size, _ = struct.unpack_from("<QIIQII", body)
        self.host.fail("ioctl")
        if command != GET_REPORT0 or size != 64 + 1024:
            raise OSError(errno.ENOTTY, "ioctl")
        data = body[32 : 32 + 64]
        return struct.pack("<iIII", 0, 0, 0, 0) + data + self.device.report(data)


def _text(name: bytes) -> str:
    return name.split(b"\0", 1)[0].decode()
