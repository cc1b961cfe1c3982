"""As much DER as vendor extensions need."""

from __future__ import annotations


def tlv(tag: int, content: bytes) -> bytes:
    n = len(content)
    if n < 0x80:
        return bytes([tag, n]) + content
    size = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + content


def sequence(*items: bytes) -> bytes:
    return tlv(0x30, b"".join(items))


def octets(content: bytes) -> bytes:
    return tlv(0x04, content)


def integer(v: int, tag: int = 0x02) -> bytes:
    return tlv(tag, v.to_bytes(v.bit_length() // 8 + 1, "big"))


def boolean(v: bool) -> bytes:
    return tlv(0x01, b"\xff" if v else b"\0")


def ia5(text: str) -> bytes:
    return tlv(0x16, text.encode())


def oid(dotted: str) -> bytes:
    numbers = [int(n) for n in dotted.split(".")]
    content = bytearray()
    for n in [numbers[0] * 40 + numbers[1], *numbers[2:]]:
        group = [n & 0x7F]
        while n := n >> 7:
            group.append(0x80 | n & 0x7F)
        content += bytes(reversed(group))
    return tlv(0x06, bytes(content))


def items(content: bytes) -> list[tuple[int, bytes, bytes]]:
    """Tag, content and all bytes of each element, one behind the other."""
    found = []
    while content:
        n, head = content[1], 2
        if n & 0x80:
            head += n & 0x7F
            n = int.from_bytes(content[2:head], "big")
        found.append((content[0], content[head : head + n], content[: head + n]))
        content = content[head + n :]
    return found


def with_extensions(tbs: bytes, extensions: list[bytes]) -> bytes:
    """A TBSCertificate with these extensions."""
    fields = [field for tag, _, field in items(items(tbs)[0][1]) if tag != 0xA3]
    return sequence(*fields, tlv(0xA3, sequence(*extensions)))


def extensions_of(tbs: bytes) -> list[bytes]:
    (found,) = [content for tag, content, _ in items(items(tbs)[0][1]) if tag == 0xA3]
    return [field for _, _, field in items(items(found)[0][1])]
