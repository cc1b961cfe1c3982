"""cbor_encode and cbor_decode: the strict profile as Python sees it."""

from __future__ import annotations

import contextlib
import gc
import math
import sys

import pytest

from atlas import _core
from atlas.errors import LimitError, MalformedError, UsageError


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (None, "f6"),
        (False, "f4"),
        (True, "f5"),
        (0, "00"),
        (2**64 - 1, "1bffffffffffffffff"),
        (-1, "20"),
        (-(2**63), "3b7fffffffffffffff"),
        (-(2**63) - 1, "3b8000000000000000"),
        (-(2**64), "3bffffffffffffffff"),
        (1.5, "f93e00"),
        (1.1, "fb3ff199999999999a"),
        (math.inf, "f97c00"),
        ("", "60"),
        ("a\0b", "63610062"),
        ("ü", "62c3bc"),
        (b"", "40"),
        (b"\xff", "41ff"),
        ([], "80"),
        ([1, [2]], "82018102"),
        ({}, "a0"),
        ({"b": 1, "a": 2, 10: 3, -1: 4, b"x": 5}, "a50a03200441780561610261620 1".replace(" ", "")),
        ({"aa": 1, "b": 2}, "a2616202626161 01".replace(" ", "")),
    ],
)
def test_values_have_one_encoding(value: object, encoded: str) -> None:
    assert _core.cbor_encode(value).hex() == encoded
    assert _core.cbor_decode(bytes.fromhex(encoded)) == value


def test_types_survive() -> None:
    value = {"t": True, "i": 1, "f": 1.0, "s": "x", "b": b"x", "n": None}
    decoded = _core.cbor_decode(_core.cbor_encode(value))
    assert {key: type(item) for key, item in decoded.items()} == {key: type(item) for key, item in value.items()}


def test_a_tuple_is_a_list() -> None:
    assert _core.cbor_decode(_core.cbor_encode((1, (2,)))) == [1, [2]]


def test_nan_is_nan() -> None:
    assert _core.cbor_encode(math.nan).hex() == "f97e00"
    assert math.isnan(_core.cbor_decode(bytes.fromhex("fb7ff8000000000001")))


def test_any_buffer_is_decoded() -> None:
    assert _core.cbor_decode(bytearray(b"\x01")) == 1
    assert _core.cbor_decode(memoryview(b"\x01")) == 1


def test_dates_are_text_and_other_tags_stay_visible() -> None:
    assert _core.cbor_decode(bytes.fromhex("c06132")) == "2"
    assert _core.cbor_decode(bytes.fromhex("c101")) == ("tag", 1, 1)
    assert _core.cbor_decode(bytes.fromhex("c001")) == ("tag", 0, 1)
    assert _core.cbor_decode(bytes.fromhex("d281c100")) == ("tag", 18, [("tag", 1, 0)])


@pytest.mark.parametrize("value", [{1, 2}, object(), 1j, [object()], {"a": object()}, range(3), bytearray(b"x")])
def test_what_cbor_has_no_form_for_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        _core.cbor_encode(value)


@pytest.mark.parametrize("key", [None, 1.5, True, (1,)])
def test_keys_are_text_integers_or_bytes(key: object) -> None:
    with pytest.raises(TypeError):
        _core.cbor_encode({key: 1})


@pytest.mark.parametrize("value", [2**64, -(2**64) - 1, 10**30])
def test_integers_beyond_64_bits_are_refused(value: int) -> None:
    with pytest.raises(OverflowError):
        _core.cbor_encode(value)


def test_an_integer_that_runs_code_is_not_run() -> None:
    class Trap(int):
        def __invert__(self) -> int:
            raise AssertionError("a subclass's operator was called")

        def __index__(self) -> int:
            raise AssertionError("a subclass's operator was called")

    assert _core.cbor_encode(Trap(-5)).hex() == "24"
    with pytest.raises(OverflowError):
        _core.cbor_encode(Trap(-(2**63) - 1))


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        _core.cbor_encode("\ud800")


def test_keys_that_collide_are_refused() -> None:
    class Text(str):
        __slots__ = ()
        __hash__ = object.__hash__

        def __eq__(self, other: object) -> bool:
            return self is other

    with pytest.raises(UsageError, match="the same key twice"):
        _core.cbor_encode({Text("a"): 1, Text("a"): 2})


def nested(levels: int) -> object:
    value: object = 0
    for _ in range(levels):
        value = [value]
    return value


def test_depth_is_limited_in_both_directions() -> None:
    assert _core.cbor_decode(_core.cbor_encode(nested(32))) == nested(32)
    with pytest.raises(LimitError):
        _core.cbor_encode(nested(33))
    with pytest.raises(LimitError):
        _core.cbor_decode(b"\x81" * 33 + b"\x00")
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(LimitError):
        _core.cbor_encode(loop)


def test_tags_on_tags_do_not_exhaust_the_stack() -> None:
    with pytest.raises(LimitError):
        _core.cbor_decode(b"\xc1" * 500_000 + b"\x00")


def test_the_number_of_items_is_limited() -> None:
    assert len(_core.cbor_encode([0] * 999_999)) == 999_999 + 5
    with pytest.raises(LimitError):
        _core.cbor_encode([0] * 1_000_000)


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "1800",
        "9fff",
        "a201000100",
        "61ff",
        "0000",
        "f7",
        "f818",
        "c24101",
        "a18000",
        "5b7fffffffffffffff",
        "9a10000000",
    ],
)
def test_what_the_profile_refuses_raises(encoded: str) -> None:
    with pytest.raises(MalformedError) as caught:
        _core.cbor_decode(bytes.fromhex(encoded))
    assert caught.value.code == "ATLAS_E_CBOR"
    assert caught.value.offset is not None


def test_nothing_leaks() -> None:
    values = [{"a": [1, b"x", "y", None, 1.5, {"k": (True,)}]}, "text", 2**63]
    encoded = _core.cbor_encode(values)

    def work() -> None:
        for _ in range(200):
            _core.cbor_decode(encoded)
            _core.cbor_encode(values)
            for bad in (b"\x82\x61a", b"\xa2\x61a\x01\x61a\x02", b"\xc1" * 100):
                with contextlib.suppress(MalformedError):
                    _core.cbor_decode(bad)
            with contextlib.suppress(TypeError):
                _core.cbor_encode([values, {"a": {"b": object()}}])
        gc.collect()

    work()
    before = sys.getallocatedblocks()
    work()
    assert sys.getallocatedblocks() - before < 50
