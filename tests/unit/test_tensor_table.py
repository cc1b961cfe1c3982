"""Tensor tables: what stands in them, and that memory and every kind of file give the same one."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import pytest

from atlas import _core
from atlas.errors import AtlasError, MalformedError, UsageError
from atlas.tensors import Entry, Table, compare, table_of_file, table_of_state
from atlas.tensors.models import model_of
from atlas.tensors.table import HEADER, encode_name

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")


def saved(path: Path, value: Any, **options: Any) -> Table:
    torch.save(value, path, **options)
    return table_of_file(path)


def by_name(table: Table) -> dict[str, Entry]:
    return {entry.name: entry for entry in table}


def plain_digest(tensor: Any) -> bytes:
    return hashlib.sha256(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes()).digest()


def state() -> dict[str, Any]:
    torch.manual_seed(0)
    base = torch.arange(1000.0)
    weight = torch.nn.Parameter(torch.randn(30, 20))
    return {
        "model": torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)).state_dict(),
        "tied": [weight, weight],
        "transposed": weight.detach().t(),
        "shared": (base[3:10], base[::7], base),
        "permuted": torch.randn(2, 3, 4).permute(2, 0, 1),
        "expanded": torch.tensor([1.5]).expand(5, 2),
        "empty": torch.zeros(0, 7),
        "scalar": torch.tensor(3),
        "optimizer": {"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1}]},
        "a/b %#": torch.ones(2, dtype=torch.bool),
        "ünï": OrderedDict(x=torch.ones(2, dtype=torch.bfloat16)),
        "": defaultdict(int, {"u16": torch.arange(3).to(torch.uint16)}),
        "half": torch.ones(2).to(torch.float8_e4m3fn),
        "complex": torch.complex(base, base + 1)[:9],
        "imaginary": torch.complex(base, base + 1).imag,
        "lr": 0.1, "name": "n", "size": torch.Size([1, 2]), "dtype": torch.float16, "none": None,
    }  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_memory_and_file_give_the_same_table(tmp_path: Path, protocol: int) -> None:
    value = state()
    table = saved(tmp_path / "m.pt", value, pickle_protocol=protocol)
    assert table.encoded == table_of_state(value).encoded
    entries = by_name(table)
    assert len(entries) == 25
    for name, tensor in [
        ("transposed", value["transposed"]),
        ("shared/#1", value["shared"][1]),
        ("permuted", value["permuted"]),
        ("expanded", value["expanded"]),
        ("imaginary", value["imaginary"]),
        ("a%2Fb%20%25%23", value["a/b %#"]),
        ("%C3%BCn%C3%AF/x", value["ünï"]["x"]),
        ("%/u16", value[""]["u16"]),
        ("optimizer/state/#0/exp_avg", value["optimizer"]["state"][0]["exp_avg"]),
    ]:
        assert entries[name].digest == plain_digest(tensor), name
        assert entries[name].shape == tuple(tensor.shape)
    assert entries["tied/#0"].digest == entries["tied/#1"].digest
    assert entries["scalar"].shape == ()
    assert entries["empty"].digest == hashlib.sha256(b"").digest()


def test_a_state_dict_has_one_table_in_memory_in_a_zip_and_in_safetensors(tmp_path: Path) -> None:
    value = {name: tensor.clone() for name, tensor in state()["model"].items()}
    safetensors.save_file(value, tmp_path / "m.safetensors", metadata={"format": "pt"})
    tables = [saved(tmp_path / "m.pt", value), table_of_file(tmp_path / "m.safetensors"), table_of_state(value)]
    assert len({table.encoded for table in tables}) == 1
    assert len(tables[0]) == 7


def test_every_dtype_of_safetensors_is_the_one_of_torch(tmp_path: Path) -> None:
    names = (
        "bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 bfloat16 float32 float64 float8_e4m3fn "
        "float8_e5m2 complex64"
    )
    value = {name: torch.zeros(3, 2, dtype=getattr(torch, name)) for name in names.split()}
    safetensors.save_file(value, tmp_path / "m.safetensors")
    table = table_of_file(tmp_path / "m.safetensors")
    assert table.encoded == saved(tmp_path / "m.pt", value).encoded
    assert all(entry.name == entry.dtype for entry in table)


def test_a_tensor_without_a_container_has_a_name_that_no_key_gives(tmp_path: Path) -> None:
    assert [entry.name for entry in saved(tmp_path / "t.pt", torch.ones(2))] == ["/"]
    assert encode_name(("",)) == "%"
    assert encode_name(("", "")) == "%/%"
    assert encode_name((1, "1", "#1", "a/b")) == "#1/1/%231/a%2Fb"


def test_a_big_endian_checkpoint_has_the_table_of_a_little_endian_one(tmp_path: Path) -> None:
    value = {"f": torch.randn(5, 3), "c": torch.complex(torch.randn(4), torch.randn(4)), "b": torch.tensor([True])}
    table = saved(tmp_path / "little.pt", value)
    with zipfile.ZipFile(tmp_path / "little.pt") as source, zipfile.ZipFile(tmp_path / "big.pt", "w") as target:
        for item in source.infolist():
            data = source.read(item)
            if item.filename.endswith("/byteorder"):
                data = b"big"
            elif "/data/" in item.filename and len(data) > 1:
                data = b"".join(data[i : i + 4][::-1] for i in range(0, len(data), 4))  # all of 4 bytes, or of 2 x 4
            target.writestr(item.filename, data)
    assert table_of_file(tmp_path / "big.pt").encoded == table.encoded
    again = torch.load(tmp_path / "big.pt")
    assert all(torch.equal(again[name], tensor) for name, tensor in value.items())


def test_a_large_strided_tensor_is_brought_into_order(tmp_path: Path) -> None:
    weight = torch.randn(700, 900)
    entries = by_name(saved(tmp_path / "m.pt", {"t": weight.t(), "s": weight[:, ::3], "w": weight}))
    for name, tensor in [("t", weight.t()), ("s", weight[:, ::3]), ("w", weight)]:
        assert entries[name].digest == plain_digest(tensor)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": lambda: torch.eye(2).to_sparse()}, "sparse"),
        ({"a": lambda: torch.empty(2, device="meta")}, "meta"),
        ({"a": lambda: torch.zeros(2, dtype=torch.complex64).conj()}, "conjugated"),
        ({"a": lambda: torch.nn.Linear(2, 2)}, "holds a tensor"),
        ({"a": lambda: torch.zeros(2).untyped_storage()}, "holds a tensor or storage"),
        ({"a": lambda: {torch.float32: torch.zeros(2)}}, "holds a tensor"),
        ({"a": lambda: {(1, 2): torch.zeros(2)}}, "holds a tensor"),
        ({"a": lambda: torch.quantize_per_tensor(torch.zeros(2), 1.0, 0, torch.qint8)}, "qtensor"),
    ],
)
def test_what_a_table_cannot_describe_is_refused_and_never_left_out(
    tmp_path: Path, value: dict[str, Any], says: str
) -> None:
    made = {"fine": torch.ones(1), **{name: make() for name, make in value.items()}}
    with pytest.raises(MalformedError, match=says) as raised:
        saved(tmp_path / "m.pt", made)
    assert str(tmp_path / "m.pt") in str(raised.value)
    with pytest.raises(UsageError):
        table_of_state(made)


def test_objects_without_tensors_are_not_in_the_way(tmp_path: Path) -> None:
    import argparse

    value = {"w": torch.ones(2), "args": argparse.Namespace(lr=1), "path": Path("x"), "seen": {1, 2}}
    assert [entry.name for entry in saved(tmp_path / "m.pt", value)] == ["w"]


def test_nothing_of_a_pickle_is_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "run"),)

    assert [entry.name for entry in saved(tmp_path / "m.pt", {"w": torch.ones(2), "evil": Evil()})] == ["w"]
    assert not (tmp_path / "run").exists()


def test_a_table_is_read_back_as_it_was_written() -> None:
    table = table_of_state(state())
    assert Table.parse(table.encoded) == table
    assert table.encoded.startswith(HEADER + b"\n")
    assert Table.parse(HEADER + b"\n").entries == ()


def test_the_root_is_the_rfc_6962_tree_over_the_lines() -> None:
    table = table_of_state({f"t{i}": torch.full((i,), 1.0) for i in range(7)})
    leaves = b"".join(_core.merkle_leaf("sha256", line) for line in table.encoded.split(b"\n")[1:-1])
    for index in range(7):
        proof = _core.merkle_inclusion_prove("sha256", leaves, index)
        leaf = leaves[32 * index : 32 * index + 32]
        _core.merkle_inclusion_check("sha256", index, 7, leaf, proof, table.root)
    assert Table(()).root == hashlib.sha256(b"").digest()


LINE = b"%s float32 [2,3] w" % (b"0" * 64)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEADER,
        b"atlas-tensors 2 sha256\n",
        HEADER + b"\n" + LINE,
        HEADER + b"\n" + LINE + b"\n\n",
        HEADER + b"\n" + LINE + b"\n" + LINE + b"\n",
        HEADER + b"\n" + LINE + b"\r\n",
        HEADER + b"\n" + LINE.replace(b"0", b"A", 1) + b"\n",
        HEADER + b"\n" + LINE.replace(b"float32", b"float33") + b"\n",
        HEADER + b"\n" + LINE.replace(b"2,3", b"2,03") + b"\n",
        HEADER + b"\n" + LINE.replace(b"2,3", b"2,") + b"\n",
        HEADER + b"\n" + LINE.replace(b"2,3", b"9999999999,9999999999") + b"\n",
        HEADER + b"\n" + LINE.replace(b" w", b" ") + b"\n",
        HEADER + b"\n" + LINE.replace(b" w", b" a//b") + b"\n",
        HEADER + b"\n" + LINE.replace(b" w", b" %41") + b"\n",
        HEADER + b"\n" + LINE.replace(b" w", b" #01") + b"\n",
        HEADER + b"\n" + LINE.replace(b" w", b" %2f") + b"\n",
    ],
)
def test_a_table_that_is_not_exactly_one_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Table.parse(data)
    assert Table.parse(HEADER + b"\n" + LINE + b"\n")


def test_a_difference_tells_a_fine_tune_from_another_model() -> None:
    base = {"a": torch.zeros(10), "b": torch.zeros(30)}
    same = compare(table_of_state(base), table_of_state(base))
    tuned = compare(table_of_state(base), table_of_state(base | {"b": torch.ones(30)}))
    other = compare(table_of_state(base), table_of_state({"b": torch.zeros(31), "c": torch.zeros(1)}))
    cast = compare(table_of_state(base), table_of_state({"a": torch.zeros(10), "b": torch.zeros(30).half()}))
    assert (same.identical, same.fine_tune, same.share) == (True, False, 0.0)
    assert (tuned.identical, tuned.fine_tune, tuned.share, tuned.unchanged) == (False, True, 0.75, 1)
    assert cast.fine_tune
    assert not other.fine_tune
    assert [e.name for e in other.added] == ["c"]
    assert [e.name for e in other.removed] == ["a"]
    assert [b.name for _, b in other.changed] == ["b"]


def test_shards_have_one_table_together(tmp_path: Path) -> None:
    value = {f"layer.{i}": torch.randn(4) for i in range(6)}
    safetensors.save_file(dict(list(value.items())[:3]), tmp_path / "model-1.safetensors")
    safetensors.save_file(dict(list(value.items())[3:]), tmp_path / "model-2.safetensors")
    torch.save(value, tmp_path / "pytorch_model.bin")  # the same once more, as hubs have it
    (tmp_path / "config.json").write_text("{}")
    assert model_of(tmp_path).table.encoded == table_of_state(value).encoded
    safetensors.save_file(dict(list(value.items())[:1]), tmp_path / "model-3.safetensors")
    with pytest.raises(MalformedError, match=r"two tensors have the name layer\.0"):
        model_of(tmp_path)


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    for name, data in [("x", b""), ("y", b"weights"), ("z", os.urandom(4096))]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(AtlasError, match=name):
            table_of_file(tmp_path / name)
