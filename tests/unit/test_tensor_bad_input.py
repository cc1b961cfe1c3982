"""Checkpoints that are none: every reader refuses with the file, in bounded time, and never with a table."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atlas.errors import AtlasError, LimitError, MalformedError
from atlas.tensors import table_of_file, table_of_state

torch = pytest.importorskip("torch")


def refused(path: Path, data: bytes, says: str = "") -> str:
    path.write_bytes(data)
    start = time.process_time()
    with pytest.raises(MalformedError) as raised:
        table_of_file(path)
    assert time.process_time() - start < 3
    assert str(path) in str(raised.value)
    assert says in str(raised.value)
    return str(raised.value)


# ------------------------------------------------------------------------------------------------------ safetensors


def container(header: Any, body: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def tensor(begin: int = 0, end: int = 8, **other: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [begin, end]} | other


BODY = bytes(8)
HEADERS: dict[str, bytes] = {
    "a dtype nobody knows": container({"a": tensor(dtype="F99")}, BODY),
    "a dtype that is a number": container({"a": tensor(dtype=3)}, BODY),
    "a shape that does not fit": container({"a": tensor(shape=[3])}, BODY),
    "a negative shape": container({"a": tensor(shape=[-2, -1])}, BODY),
    "a shape of booleans": container({"a": tensor(shape=[True, 2])}, BODY),
    "a shape that is an object": container({"a": tensor(shape={"0": 2})}, BODY),
    "a shape that overflows": container({"a": tensor(shape=[1 << 40, 1 << 40])}, BODY),
    "too many dimensions": container({"a": tensor(shape=[1] * 65 + [2])}, BODY),
    "offsets turned round": container({"a": tensor(8, 0)}, BODY),
    "three offsets": container({"a": tensor(data_offsets=[0, 4, 8])}, BODY),
    "offsets beyond the end": container({"a": tensor(0, 16, shape=[4])}, BODY),
    "an offset that is a fraction": container({"a": tensor(data_offsets=[0.0, 8])}, BODY),
    "a hole before the first": container({"a": tensor(4, 8, shape=[1])}, BODY),
    "a hole between two": container({"a": tensor(0, 4, shape=[1]), "b": tensor(8, 12, shape=[1])}, bytes(12)),
    "an overlap": container({"a": tensor(), "b": tensor(4, 12)}, bytes(12)),
    "bytes after the last": container({"a": tensor()}, BODY + b"x"),
    "too few bytes": container({"a": tensor()}, BODY[:-1]),
    "a field too many": container({"a": tensor(extra=1)}, BODY),
    "a field too few": container({"a": {"dtype": "F32", "shape": [2]}}, BODY),
    "metadata that is no map of text": container({"__metadata__": {"a": 1}, "a": tensor()}, BODY),
    "a key twice": container(b'{"a": %s, "a": %s}' % ((json.dumps(tensor()).encode(),) * 2), BODY),
    "a key twice inside": container(b'{"a": {"dtype": "F32", "dtype": "F32", "shape": [2]}}', BODY),
    "no JSON": container(b'{"a": nope}', BODY),
    "NaN": container(b'{"a": NaN}', BODY),
    "not UTF-8": container(b'{"\xff": 1}', BODY),
    "a list": container(b"{[]}", BODY),
    "nesting without end": container(b'{"a":' + b"[" * 100_000, BODY),
    "a number without end": container(b'{"a": ' + b"9" * 10_000 + b"}", BODY),
    "two documents": container(b"{} {}", BODY),
}  # fmt: skip


@pytest.mark.parametrize("what", HEADERS)
def test_a_header_of_safetensors_that_breaks_a_rule_is_refused(tmp_path: Path, what: str) -> None:
    refused(tmp_path / "m.safetensors", HEADERS[what])


def test_a_header_with_spaces_after_it_and_metadata_is_read(tmp_path: Path) -> None:
    place = tmp_path / "m.safetensors"
    place.write_bytes(container(json.dumps({"__metadata__": {"a": "b"}, "a": tensor()}).encode() + b"   ", BODY))
    assert len(table_of_file(place)) == 1


def test_a_header_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    place = tmp_path / "m.safetensors"
    with place.open("wb") as file:
        file.write(container(b"{", length=65 << 20))
        file.truncate(66 << 20)
    with pytest.raises(LimitError, match="header of"):
        table_of_file(place)


# -------------------------------------------------------------------------------------------------------------- zip


def checkpoint(pickled: bytes | None = None, records: dict[str, bytes] | None = None, **options: Any) -> bytes:
    """A checkpoint by hand. `pickled` None: {"w": two floats}."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        archive.writestr("archive/version", b"3\n")
        archive.writestr("archive/data.pkl", good() if pickled is None else pickled)
        for name, data in ({"archive/data/0": bytes(8)} if records is None else records).items():
            archive.writestr(name, data)
    return buffer.getvalue()


def good(
    *,
    key: str = "0",
    numel: int = 2,
    offset: int = 0,
    shape: tuple[int, ...] = (2,),
    stride: tuple[int, ...] = (1,),
    kind: str = "FloatStorage",
) -> bytes:
    """What torch.save pickles for one tensor."""

    class Global:
        def __init__(self, module: str, name: str) -> None:
            self.module, self.name = module, name

    class Call:
        def __init__(self, what: Global, args: Any) -> None:
            self.what, self.args = what, args

    class Persistent:
        def __init__(self, value: Any) -> None:
            self.value = value

    def dump(value: Any) -> bytes:
        if isinstance(value, Global):
            return f"c{value.module}\n{value.name}\n".encode()
        if isinstance(value, Call):
            return dump(value.what) + dump(value.args) + b"R"
        if isinstance(value, Persistent):
            return dump(value.value) + b"Q"
        if isinstance(value, tuple):
            return b"(" + b"".join(map(dump, value)) + b"t"
        if isinstance(value, dict):
            return b"}(" + b"".join(dump(part) for pair in value.items() for part in pair) + b"u"
        return pickle.dumps(value, protocol=2)[2:-1].replace(b"q\x00", b"")

    storage = Persistent(("storage", Global("torch", kind), key, "cpu", numel))
    hooks = Call(Global("collections", "OrderedDict"), ())
    made = Call(Global("torch._utils", "_rebuild_tensor_v2"), (storage, offset, shape, stride, False, hooks))
    return b"\x80\x02" + dump({"w": made}) + b"."


def test_the_checkpoint_made_by_hand_is_one(tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(checkpoint())
    assert [(e.name, e.shape) for e in table_of_file(tmp_path / "m.pt")] == [("w", (2,))]
    assert torch.equal(torch.load(tmp_path / "m.pt")["w"], torch.zeros(2))


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "a storage that is not there": lambda: checkpoint(good(key="1")),
    "a storage outside its folder": lambda: checkpoint(good(key="../data.pkl")),
    "a storage of another size": lambda: checkpoint(good(numel=3)),
    "a view beyond its storage": lambda: checkpoint(good(shape=(3,))),
    "a view that begins beyond it": lambda: checkpoint(good(offset=1)),
    "a view by a stride beyond it": lambda: checkpoint(good(stride=(2,))),
    "a negative offset": lambda: checkpoint(good(offset=-1)),
    "a negative stride": lambda: checkpoint(good(stride=(-1,))),
    "strides for other dimensions": lambda: checkpoint(good(stride=(1, 1))),
    "a storage of no known type": lambda: checkpoint(good(kind="QInt8Storage")),
    "an expansion to terabytes": lambda: checkpoint(good(shape=(1 << 40,), stride=(0,))),
    "compressed records": lambda: checkpoint(compression=zipfile.ZIP_DEFLATED),
    "records in two folders": lambda: checkpoint(records={"other/data/0": bytes(8)}),
    "TorchScript": lambda: checkpoint(records={"archive/data/0": bytes(8), "archive/constants.pkl": b"."}),
    "no byte order": lambda: checkpoint(records={"archive/data/0": bytes(8), "archive/byteorder": b"middle"}),
    "a comment after the end": lambda: checkpoint()[:-2] + b"\x01\x00x",
    "bytes before the archive": lambda: b"PK\x03\x04" + checkpoint(),
    "bytes after the archive": lambda: checkpoint() + b"x",
    "no pickle": lambda: checkpoint(b""),
    "a pickle of protocol 0": lambda: checkpoint(pickle.dumps({"a": 1}, protocol=0)),
    "a pickle that imports by INST": lambda: checkpoint(b"\x80\x02(ios\nsystem\n."),
    "an extension": lambda: checkpoint(b"\x80\x02\x82\x01."),
    "an out-of-band buffer": lambda: checkpoint(b"\x80\x05\x97."),
    "a memo that was never filled": lambda: checkpoint(b"\x80\x02h\x05."),
    "a mark that is not there": lambda: checkpoint(b"\x80\x02t."),
    "a pop below a mark": lambda: checkpoint(b"\x80\x02}(0s."),
    "more than one result": lambda: checkpoint(b"\x80\x02}}."),
    "something after the end": lambda: checkpoint(b"\x80\x02}.}"),
    "an integer of 4 GiB": lambda: checkpoint(b"\x80\x02\x8b\xff\xff\xff\x7f."),
    "text of 4 GiB": lambda: checkpoint(b"\x80\x02X\xff\xff\xff\xff."),
    "text that is not UTF-8": lambda: checkpoint(b"\x80\x02X\x01\x00\x00\x00\xff."),
    "a list that holds itself": lambda: checkpoint(b"\x80\x02]q\x00h\x00a."),
    "a dictionary that holds itself": lambda: checkpoint(b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s."),
    "a billion laughs": lambda: checkpoint(laughs()),
    "nesting without end": lambda: checkpoint(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."),
    "marks without end": lambda: checkpoint(b"\x80\x02" + b"(" * 100_000 + b"."),
    "an object hidden in a key": lambda: checkpoint(good()[:-1].replace(b"}(", b"}(cx\ny\nN", 1) + b"."),
}


def laughs() -> bytes:
    levels = b"]q\x00"
    for i in range(1, 30):
        levels += b"](" + b"h%c" % (i - 1) * 10 + b"eq%c" % i
    return b"\x80\x02(" + levels + b"l."


@pytest.mark.parametrize("what", ARCHIVES)
def test_an_archive_that_breaks_a_rule_is_refused(tmp_path: Path, what: str) -> None:
    refused(tmp_path / "m.pt", ARCHIVES[what]())


def test_two_records_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        buffer = io.BytesIO(checkpoint())
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.writestr("archive/data/0", b"12345678")
    refused(tmp_path / "m.pt", buffer.getvalue(), "twice")


def test_records_that_overlap_are_refused(tmp_path: Path) -> None:
    data = bytearray(checkpoint(records={"archive/data/0": bytes(8), "archive/data/1": bytes(8)}))
    entry = data.rindex(b"PK\x01\x02")
    before = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    data[entry + 42 : entry + 46] = data[before + 42 : before + 46]
    refused(tmp_path / "m.pt", bytes(data))


def test_a_local_header_that_tells_another_name_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "m.pt", checkpoint().replace(b"archive/data/0", b"archive/data/9", 1), "another name")


def test_a_checkpoint_that_is_cut_or_has_a_byte_changed_never_gives_a_table_that_torch_would_not_load(
    tmp_path: Path,
) -> None:
    whole = checkpoint()
    place = tmp_path / "m.pt"
    place.write_bytes(whole)
    honest = table_of_file(place).encoded
    for n in range(len(whole)):
        place.write_bytes(whole[:n])
        with pytest.raises(AtlasError):
            table_of_file(place)
    for n in range(len(whole)):
        place.write_bytes(whole[:n] + bytes([whole[n] ^ 0x41]) + whole[n + 1 :])
        try:
            table = table_of_file(place)
        except AtlasError:
            continue
        if table.encoded != honest:
            with contextlib.suppress(RuntimeError, pickle.UnpicklingError):  # torch is stricter about the archive
                assert table_of_state(torch.load(place)).encoded == table.encoded
