"""A pickle as a picture of itself: which objects it would make, and of what. Nothing is imported, called or built.

A stack machine over an allow-list of opcodes (protocols 2 to 5, as torch writes them). A global is its name, a call is
the name with its arguments. Everything is bounded: bytes, operations, stack and memo.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from atlas.errors import LimitError, MalformedError

MAX_PICKLE_BYTES = 64 << 20
MAX_OPERATIONS = 16 << 20
MAX_LONG_BYTES = 64
_MAX_MARKS = 1 << 16


@dataclass(frozen=True, slots=True)
class Global:
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Object:
    """A dictionary (`call` is None) or what a call would give, with all that is done to it afterwards."""

    call: Any = None
    args: Any = ()
    pairs: list[tuple[Any, Any]] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)
    states: list[Any] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Persistent:
    """Something outside the pickle: of torch, a storage."""

    id: Any


class _Machine:
    def __init__(self, data: bytes, where: str) -> None:
        self.data = data
        self.where = where
        self.at = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    # ------------------------------------------------------------------------------------- bytes and stack

    def refuse(self, text: str) -> MalformedError:
        return MalformedError(text, where=f"{self.where}, its pickle", offset=self.at)

    def take(self, n: int) -> bytes:
        if n < 0 or n > len(self.data) - self.at:
            raise self.refuse("ends in the middle of an operation")
        piece = self.data[self.at : self.at + n]
        self.at += n
        return piece

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.at, self.at + 4096)
        if end < 0:
            raise self.refuse("a global without an end")
        text = self.text(self.take(end - self.at))
        self.at += 1
        return text

    def text(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise self.refuse("text that is not UTF-8") from None

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise self.refuse("takes more from the stack than there is")
        return self.stack.pop()

    def top(self) -> Any:
        value = self.pop()
        self.push(value)
        return value

    def since_mark(self) -> list[Any]:
        if not self.marks:
            raise self.refuse("there is no mark")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def mark(self) -> None:
        if len(self.marks) >= _MAX_MARKS:
            raise LimitError(f"more than {_MAX_MARKS} open marks", where=self.where, offset=self.at)
        self.marks.append(len(self.stack))

    # ------------------------------------------------------------------------------------------ operations

    def long(self, n: int) -> int:
        if n > MAX_LONG_BYTES:
            raise self.refuse(f"an integer of more than {MAX_LONG_BYTES} bytes")
        return int.from_bytes(self.take(n), "little", signed=True)

    def tuple_of(self, n: int) -> None:
        values = [self.pop() for _ in range(n)]
        self.push(tuple(reversed(values)))

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise self.refuse("recalls what was never remembered")
        self.push(self.memo[index])

    def put(self, index: int) -> None:
        self.memo[index] = self.top()

    def append(self, values: list[Any]) -> None:
        target = self.top()
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, Object):
            target.items.extend(values)
        else:
            raise self.refuse("appends to what is no list")

    def set_items(self, values: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, Object) or len(values) % 2:
            raise self.refuse("sets items of what is no dictionary")
        target.pairs.extend(zip(values[::2], values[1::2], strict=True))

    def dictionary(self) -> None:
        values = self.since_mark()
        self.push(Object())
        self.set_items(values)

    def call(self, *, keywords: bool = False) -> None:
        extra = self.pop() if keywords else None
        args = self.pop()
        self.push(Object(self.pop(), args if extra is None else (args, extra)))

    def build(self) -> None:
        state = self.pop()
        target = self.top()
        if not isinstance(target, Object):
            raise self.refuse("gives a state to what can have none")
        target.states.append(state)

    def set_of(self) -> None:
        self.push(Object(Global("builtins", "frozenset"), (), items=self.since_mark()))

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise self.refuse("a global without a name")
        self.push(Global(module, name))

    def protocol(self) -> None:
        if self.take(1)[0] not in (2, 3, 4, 5):
            raise self.refuse("a protocol that is not 2 to 5")

    def pop_or_mark(self) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.pop()

    def run(self) -> Any:
        operations = _operations(self)
        count = 0
        while True:
            opcode = self.take(1)[0]
            if opcode == 0x2E:  # STOP
                result = self.pop()
                if self.stack or self.marks or self.at != len(self.data):
                    raise self.refuse("stops before its end")
                return result
            count += 1
            if count > MAX_OPERATIONS:
                raise LimitError(f"more than {MAX_OPERATIONS} operations", where=self.where)
            operation = operations.get(opcode)
            if operation is None:
                self.at -= 1
                raise self.refuse(f"opcode 0x{opcode:02x} is not one that a checkpoint needs")
            operation()


def _operations(m: _Machine) -> dict[int, Callable[[], Any]]:
    """By opcode, as pickletools names them."""
    push, take, number = m.push, m.take, m.number
    return {
        0x80: m.protocol,
        0x95: lambda: take(8),  # FRAME: only says how much to read ahead
        0x28: m.mark,
        0x30: m.pop_or_mark,
        0x31: m.since_mark,  # POP_MARK
        0x32: lambda: push(m.top()),  # DUP
        # constants
        0x4E: lambda: push(None),
        0x88: lambda: push(True),
        0x89: lambda: push(False),
        0x4A: lambda: push(number("<i")),
        0x4B: lambda: push(number("<B")),
        0x4D: lambda: push(number("<H")),
        0x8A: lambda: push(m.long(number("<B"))),
        0x8B: lambda: push(m.long(number("<I"))),
        0x47: lambda: push(number(">d")),
        0x58: lambda: push(m.text(take(number("<I")))),
        0x8C: lambda: push(m.text(take(number("<B")))),
        0x8D: lambda: push(m.text(take(number("<Q")))),
        0x42: lambda: push(take(number("<I"))),
        0x43: lambda: push(take(number("<B"))),
        0x8E: lambda: push(take(number("<Q"))),
        0x96: lambda: push(take(number("<Q"))),  # BYTEARRAY8
        # containers
        0x29: lambda: push(()),
        0x74: lambda: push(tuple(m.since_mark())),
        0x85: lambda: m.tuple_of(1),
        0x86: lambda: m.tuple_of(2),
        0x87: lambda: m.tuple_of(3),
        0x5D: lambda: push([]),
        0x6C: lambda: push(m.since_mark()),
        0x61: lambda: m.append([m.pop()]),
        0x65: lambda: m.append(m.since_mark()),
        0x7D: lambda: push(Object()),
        0x64: m.dictionary,
        0x73: lambda: m.set_items(list(reversed([m.pop(), m.pop()]))),
        0x75: lambda: m.set_items(m.since_mark()),
        0x8F: lambda: push(Object(Global("builtins", "set"))),
        0x90: lambda: m.append(m.since_mark()),  # ADDITEMS
        0x91: m.set_of,
        # memo
        0x71: lambda: m.put(number("<B")),
        0x72: lambda: m.put(number("<I")),
        0x94: lambda: m.put(len(m.memo)),
        0x68: lambda: m.get(number("<B")),
        0x6A: lambda: m.get(number("<I")),
        # objects
        0x63: lambda: push(Global(m.line(), m.line())),
        0x93: m.stack_global,
        0x52: m.call,  # REDUCE
        0x81: m.call,  # NEWOBJ
        0x92: lambda: m.call(keywords=True),  # NEWOBJ_EX
        0x62: m.build,
        0x51: lambda: push(Persistent(m.pop())),
    }


def picture(data: bytes, where: str) -> Any:
    """What the pickle would make: plain values, tuples and lists, and Object, Global and Persistent for the rest."""
    if len(data) > MAX_PICKLE_BYTES:
        raise LimitError(f"its pickle is larger than {MAX_PICKLE_BYTES} bytes", where=where)
    return _Machine(data, where).run()
