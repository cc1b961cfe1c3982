"""Our CBOR against cbor2, an implementation that we did not write, over arbitrary values and arbitrary bytes."""

from __future__ import annotations

import math
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas import _core
from atlas.errors import MalformedError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=80)
)
KEYS = st.text(max_size=8) | st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(KEYS, inner, max_size=80), max_leaves=60
)


def bytewise(value: object) -> object:
    """The value with its maps in the order of RFC 8949, 4.2.1: by encoded key."""
    if isinstance(value, dict):
        pairs = sorted(value.items(), key=lambda pair: cbor2.dumps(pair[0]))
        return {key: bytewise(item) for key, item in pairs}
    return [bytewise(item) for item in value] if isinstance(value, list) else value


def same(a: Any, b: Any) -> bool:
    """Equal, and of equal types: True is not 1, and 0.0 is not -0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(item, b[key]) for key, item in a.items())
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return bool(a == b)


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_what_is_encoded_is_decoded(value: object) -> None:
    assert same(_core.cbor_decode(_core.cbor_encode(value)), value)


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_the_encoding_is_that_of_cbor2_with_keys_in_bytewise_order(value: object) -> None:
    assert same(cbor2.loads(_core.cbor_encode(value)), value)
    # cbor2's canonical mode sorts keys by length first; its plain mode keeps the order given
    if not any_float(value):
        assert _core.cbor_encode(value) == cbor2.dumps(bytewise(value))


def any_float(value: object) -> bool:
    """cbor2 shortens floats in canonical mode only."""
    if isinstance(value, dict):
        return any(any_float(item) for item in value.values())
    return any(any_float(item) for item in value) if isinstance(value, list) else isinstance(value, float)


@settings(max_examples=300, deadline=None)
@given(st.floats())
def test_floats_take_the_canonical_form_of_cbor2(value: float) -> None:
    assert _core.cbor_encode(value) == cbor2.dumps(value, canonical=True)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=40))
def test_arbitrary_bytes_are_refused_or_encode_to_an_equal_value(data: bytes) -> None:
    try:
        value = _core.cbor_decode(data)
    except MalformedError:
        return
    try:
        again = _core.cbor_decode(_core.cbor_encode(value))
    except TypeError:
        pytest.fail(f"decoded to something that cannot be encoded: {value!r}")
    assert same(again, value) or "tag" in repr(value) or "nan" in repr(value)
