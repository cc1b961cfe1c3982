"""From an x5chain to an anchor at a time: every way in which a path can be wrong, beside a path that is right."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import CertificatePoliciesOID, ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from forge import pki

from atlas import _core
from atlas.errors import AtlasError, LimitError, MalformedError, VerificationError

NOW = int(pki.NOW.timestamp())
DAY = 86400
ROOT = pki.Authority.root("Chain Root")
OTHER = pki.Authority.root("Other Root")
MIDDLE = ROOT.intermediate("Middle")
ALICE = MIDDLE.leaf("Alice")


def trust(*authorities: pki.Authority, **others: Any) -> _core.Trust:
    return _core.Trust(pki.roots(*authorities).encode(), **others)


def check(chain: list[bytes], *anchors: pki.Authority, time: int = NOW, now: int | None = None) -> dict[str, Any]:
    return dict(trust(*(anchors or (ROOT,))).check_chain(chain, time, time if now is None else now))


def refusal(chain: list[bytes], *anchors: pki.Authority, time: int = NOW) -> str:
    with pytest.raises(AtlasError) as caught:
        check(chain, *anchors, time=time)
    return caught.value.code


# ------------------------------------------------------------------------------------------------------------- accepted


def test_a_leaf_directly_under_an_anchor_is_trusted() -> None:
    assert check(ROOT.leaf("Direct").chain)["length"] == 2


def test_a_leaf_under_an_intermediate_is_trusted_and_the_anchor_named() -> None:
    result = check(ALICE.chain)
    assert result["length"] == 3
    assert result["anchor"] == ROOT.certificate.fingerprint(pki.hashes.SHA256())


def test_a_root_at_the_end_of_the_chain_is_tolerated() -> None:
    assert check([*ALICE.chain, pki.der(ROOT.certificate)])["length"] == 3


def test_an_intermediate_given_as_anchor_ends_the_path() -> None:
    assert check(ALICE.chain, MIDDLE)["length"] == 2
    assert check([*ALICE.chain, pki.der(ROOT.certificate)], MIDDLE)["length"] == 2
    assert refusal(ROOT.leaf("Beside").chain, MIDDLE) == "ATLAS_E_CHAIN"


@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512", "PS256", "EdDSA"])
def test_authorities_may_use_every_allowed_key(alg: str) -> None:
    root = pki.Authority.root("Root", alg)
    assert check(root.intermediate("Middle", alg).leaf("Leaf", "ES256").chain, root)["length"] == 3


def test_two_roots_of_the_same_name_are_told_apart_by_their_keys() -> None:
    twin = pki.Authority.root("Chain Root", key_name="twin")
    assert check(ALICE.chain, twin, ROOT)["length"] == 3
    assert check(ALICE.chain, ROOT, twin)["length"] == 3
    assert refusal(ALICE.chain, twin) == "ATLAS_E_CHAIN"


# ------------------------------------------------------------------------------------------------------------- no path


def test_without_its_root_nothing_is_trusted() -> None:
    assert refusal(ALICE.chain, OTHER) == "ATLAS_E_CHAIN"
    with pytest.raises(VerificationError):
        _core.Trust().check_chain(ALICE.chain, NOW, NOW)


def test_a_root_that_the_chain_brings_along_is_no_anchor() -> None:
    mallory = pki.Authority.root("Mallory Root")
    chain = [*mallory.leaf("Alice").chain, pki.der(mallory.certificate)]
    assert refusal(chain) == "ATLAS_E_CHAIN"
    assert check(chain, mallory)["length"] == 2


def test_a_missing_intermediate_is_no_path() -> None:
    assert refusal(ALICE.chain[:1]) == "ATLAS_E_CHAIN"


def test_a_look_alike_of_the_root_is_not_the_root() -> None:
    fake = pki.Authority.root("Chain Root", key_name="mallory")
    assert refusal([*fake.leaf("Alice").chain]) in ("ATLAS_E_CHAIN", "ATLAS_E_CREDENTIAL")


def test_an_intermediate_with_another_key_did_not_sign_the_leaf() -> None:
    impostor = ROOT.intermediate("Middle", "ES384")
    assert refusal([ALICE.chain[0], impostor.leaf("x").chain[1]]) == "ATLAS_E_CREDENTIAL"


def test_a_self_signed_leaf_is_refused_even_beside_itself_as_anchor() -> None:
    solo = pki.self_signed("Solo", ca=True, usages=("digital_signature", "key_cert_sign"))
    anchors = _core.Trust(solo.chain_pem.encode())
    with pytest.raises(VerificationError) as caught:
        anchors.check_chain(solo.chain, NOW, NOW)
    assert caught.value.code == "ATLAS_E_CREDENTIAL"


def test_a_leaf_cannot_be_made_an_anchor() -> None:
    with pytest.raises(VerificationError) as caught:
        _core.Trust(ALICE.chain_pem.encode())
    assert caught.value.code == "ATLAS_E_CREDENTIAL"


# --------------------------------------------------------------------------------------------------- what is in x5chain


def test_reordered_repeated_and_unrelated_certificates_are_refused() -> None:
    leaf, middle = ALICE.chain
    root = pki.der(ROOT.certificate)
    unrelated = OTHER.intermediate("Unrelated").leaf("x").chain[1]
    sibling = ROOT.intermediate("Sibling").leaf("x").chain[1]
    for chain in (
        [middle, leaf],
        [leaf, middle, middle],
        [leaf, leaf, middle],
        [leaf, middle, root, root],
        [leaf, root, middle],
        [leaf, middle, unrelated],
        [leaf, unrelated, middle],
        [leaf, middle, sibling],
        [leaf, middle, pki.der(OTHER.certificate)],
        [leaf, middle, MIDDLE.leaf("Bob").chain[0]],
    ):
        assert refusal(chain) == "ATLAS_E_CREDENTIAL"
        with pytest.raises(VerificationError):
            _core.certificate_chain_check(chain)
    assert check([leaf, middle, root])["length"] == 3


def test_an_empty_chain_and_one_beyond_the_limit_are_refused() -> None:
    assert refusal([]) == "ATLAS_E_CREDENTIAL"
    with pytest.raises(LimitError):
        check(ALICE.chain * 9)


def test_a_path_as_long_as_the_limit_is_checked() -> None:
    authority = ROOT
    for i in range(15):
        authority = authority.intermediate(f"Level {i}")
    chain = authority.leaf("Deep").chain
    assert len(chain) == 16
    assert check(chain)["length"] == 17


def test_bytes_that_are_no_certificate_are_malformed() -> None:
    with pytest.raises(MalformedError):
        check([ALICE.chain[0], b"no certificate"])


# ---------------------------------------------------------------------------------------------------- rules of the path


def under(**flaws: Any) -> list[bytes]:
    return ROOT.intermediate("Flawed", **flaws).leaf("Leaf").chain


def test_the_clean_twin_of_the_flawed_intermediates_is_trusted() -> None:
    assert check(under())["length"] == 3


@pytest.mark.parametrize(
    ("flaws", "codes"),
    [
        ({"ca": False, "usages": ("digital_signature",)}, {"ATLAS_E_CREDENTIAL", "ATLAS_E_CHAIN"}),
        ({"ca": False}, {"ATLAS_E_CREDENTIAL", "ATLAS_E_CHAIN"}),
        ({"constraints": False}, {"ATLAS_E_CREDENTIAL", "ATLAS_E_CHAIN"}),
        ({"usages": ("crl_sign",)}, {"ATLAS_E_CREDENTIAL", "ATLAS_E_CHAIN"}),
        ({"usages": None}, {"ATLAS_E_CHAIN"}),
        ({"ski": False}, {"ATLAS_E_CHAIN"}),
        ({"aki": False}, {"ATLAS_E_CHAIN"}),
        ({"extra": ((pki.UNKNOWN_EXTENSION, True),)}, {"ATLAS_E_CHAIN"}),
        ({"digest": pki.hashes.SHA224}, {"ATLAS_E_ALGORITHM", "ATLAS_E_CHAIN"}),
        ({"ekus": (Eku.SERVER_AUTH,)}, {"ATLAS_E_CHAIN"}),
        ({"ekus": (Eku.TIME_STAMPING,)}, {"ATLAS_E_CHAIN"}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_intermediate_that_may_not_issue_is_refused(flaws: dict[str, Any], codes: set[str]) -> None:
    assert refusal(under(**flaws)) in codes


def test_an_intermediate_restricted_to_our_purposes_may_issue() -> None:
    for ekus in ((pki.CLAIM_SIGNING,), (Eku.EMAIL_PROTECTION,), (Eku.ANY_EXTENDED_KEY_USAGE,)):
        assert check(under(ekus=ekus))["length"] == 3


def test_path_length_is_kept() -> None:
    short = ROOT.intermediate("Short", path_length=0)
    assert check(short.leaf("Leaf").chain)["length"] == 3
    assert refusal(short.intermediate("Too deep").leaf("Leaf").chain) == "ATLAS_E_CHAIN"
    longer = ROOT.intermediate("Longer", path_length=1)
    assert check(longer.intermediate("Deep").leaf("Leaf").chain)["length"] == 4


def test_name_constraints_are_kept() -> None:
    permitted = x509.NameConstraints([x509.DirectoryName(pki.subject("Alice"))], None)
    authority = ROOT.intermediate("Constrained", extra=((permitted, True),))
    assert refusal(authority.leaf("Mallory").chain) == "ATLAS_E_CHAIN"
    allowed = x509.NameConstraints([x509.DirectoryName(x509.Name([*pki.subject("x")][:1]))], None)
    assert check(ROOT.intermediate("Open", extra=((allowed, True),)).leaf("Mallory").chain)["length"] == 3


def test_a_required_policy_that_the_leaf_lacks_is_refused() -> None:
    required = x509.PolicyConstraints(require_explicit_policy=0, inhibit_policy_mapping=None)
    policy = x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier("1.3.6.1.4.1.62558.999.7"), None)])
    anything = x509.CertificatePolicies([x509.PolicyInformation(CertificatePoliciesOID.ANY_POLICY, None)])
    authority = ROOT.intermediate("Strict", extra=((required, True), (anything, False)))
    assert refusal(authority.leaf("No policy").chain) == "ATLAS_E_CHAIN"
    assert check(authority.leaf("With policy", extra=((policy, False),)).chain)["length"] == 3


@pytest.mark.parametrize("bits", [1024, 2047])
def test_an_authority_with_a_weak_key_is_refused(bits: int) -> None:
    weak = pki.rsa.generate_private_key(65537, bits)
    made = pki.certificate(
        "Weak", weak.public_key(), pki.CA_PROFILE, issuer=ROOT.certificate.subject, issuer_key=ROOT.key
    )
    chain = pki.Authority("Weak", weak, made, (made,)).leaf("Leaf").chain
    assert refusal(chain) == "ATLAS_E_ALGORITHM"
    with pytest.raises(VerificationError) as caught:
        _core.Trust(pki.pem(made).encode())
    assert caught.value.code == "ATLAS_E_ALGORITHM"


# ---------------------------------------------------------------------------------------------------------------- time


def span_of(start: float, end: float) -> dict[str, Any]:
    return {"start": pki.days(start), "end": pki.days(end)}


def test_validity_starts_with_its_first_second_and_ends_before_its_last() -> None:
    chain = ROOT.leaf("Short", **span_of(-10, 10)).chain
    for time in (NOW - 10 * DAY, NOW, NOW + 10 * DAY - 1):
        assert check(chain, time=time)["length"] == 2
    for time in (NOW - 10 * DAY - 1, NOW + 10 * DAY):
        assert refusal(chain, time=time) == "ATLAS_E_EXPIRED"


def test_what_counts_is_the_time_of_signing() -> None:
    chain = ROOT.leaf("Long gone", **span_of(-50, -20)).chain
    assert refusal(chain) == "ATLAS_E_EXPIRED"
    assert check(chain, time=NOW - 30 * DAY, now=NOW)["length"] == 2


def test_an_intermediate_must_be_valid_at_that_time_too() -> None:
    chain = ROOT.intermediate("Old", **span_of(-60, -30)).leaf("Leaf", **span_of(-50, 50)).chain
    assert refusal(chain) == "ATLAS_E_EXPIRED"
    assert check(chain, time=NOW - 40 * DAY, now=NOW)["length"] == 3
    early = ROOT.intermediate("Early", **span_of(5, 30)).leaf("Leaf", **span_of(-50, 50)).chain
    assert refusal(early) == "ATLAS_E_EXPIRED"


def test_the_anchor_must_be_valid_at_that_time_too() -> None:
    key = pki.key("ES256", "old root")
    old = pki.certificate(
        "Old Root",
        key.public_key(),
        pki.Profile(**{**pki.CA_PROFILE.__dict__, "aki": False, **span_of(-60, -30)}),
        issuer=pki.subject("Old Root"),
        issuer_key=key,
    )
    root = pki.Authority("Old Root", key, old)
    chain = root.leaf("Leaf", **span_of(-60, 50)).chain
    assert refusal(chain, root) == "ATLAS_E_EXPIRED"
    assert check(chain, root, time=NOW - 40 * DAY, now=NOW)["length"] == 2


@pytest.mark.parametrize("time", [0, -1, 1 << 37])
def test_a_time_that_is_far_away_is_a_time_like_any_other(time: int) -> None:
    assert refusal(ALICE.chain, time=time) == "ATLAS_E_EXPIRED"


def test_a_time_beyond_the_year_9999_is_refused() -> None:
    for time in (1 << 40, (1 << 63) - 1, -(1 << 63)):
        assert refusal(ALICE.chain, time=time) in ("ATLAS_E_CHAIN", "ATLAS_E_EXPIRED")


# ----------------------------------------------------------------------------------------------------- anchors as given


def test_a_bundle_may_hold_text_between_its_certificates() -> None:
    text = b"# our roots\n" + ROOT.pem.encode() + b"\nand another\n" + OTHER.pem.encode() + b"end\n"
    assert _core.Trust(text).check_chain(ALICE.chain, NOW, NOW)["length"] == 3


@pytest.mark.parametrize(
    "bundle",
    [
        b"nothing here",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ROOT.pem.encode() + b"-----BEGIN CERTIFICATE-----\nMIIB",
        ROOT.pem.encode() + pki.key_pem(ROOT.key).encode(),
        ROOT.pem.replace("BEGIN CERTIFICATE", "BEGIN TRUSTED CERTIFICATE").replace("END C", "END TRUSTED C").encode(),
        ROOT.pem.encode()[:-40],
    ],
    ids=["no PEM", "no certificate", "cut block", "private key", "trusted certificate", "cut file"],
)
def test_a_damaged_bundle_is_an_error_and_not_a_smaller_bundle(bundle: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        _core.Trust(bundle)
    assert caught.value.code == "ATLAS_E_X509"


def test_tsa_anchors_and_claim_anchors_are_separate() -> None:
    separate = _core.Trust(b"", ROOT.pem.encode())
    with pytest.raises(VerificationError) as caught:
        separate.check_chain(ALICE.chain, NOW, NOW)
    assert caught.value.code == "ATLAS_E_CHAIN"
    stamping = MIDDLE.leaf("TSA", ekus=(Eku.TIME_STAMPING,), eku_critical=True).chain
    assert separate.check_chain(stamping, NOW, NOW, "tsa")["length"] == 3
    with pytest.raises(VerificationError):
        trust(ROOT).check_chain(stamping, NOW, NOW, "tsa")


def test_an_unknown_purpose_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="purpose"):
        trust(ROOT).check_chain(ALICE.chain, NOW, NOW, "any")  # type: ignore[arg-type]
