"""Policy: what is trusted, and where it may come from."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from atlas.errors import NotFound, UsageError
from atlas.model import Digest
from atlas.policy import Policy, load_policy, parse_time, read_roots, resolve_policy
from atlas.store import Store

ROOT = b"-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"
OTHER = ROOT.replace(b"QUJD", b"REVG")


@pytest.fixture(autouse=True)
def no_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ATLAS_TRUST", "ATLAS_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    path = tmp_path / "roots.pem"
    path.write_bytes(ROOT)
    return path


def write(path: Path, **document: object) -> Path:
    path.write_text(json.dumps({"version": 1, **document}))
    return path


def test_without_roots_there_is_no_policy_and_the_error_says_where_to_put_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_policy()
    assert "no trust roots" in str(caught.value)
    assert "--trust" in caught.value.hint
    assert str(tmp_path / "config" / "atlas" / "roots.pem") in caught.value.hint


def test_roots_come_from_the_argument_then_the_policy_then_the_environment_then_the_users_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {n: ROOT.replace(b"QUJD", n.encode()) for n in ("argu", "poli", "envi", "user")}
    for name, pem in names.items():
        (tmp_path / f"{name}.pem").write_bytes(pem)
    own = tmp_path / "config" / "atlas"
    own.mkdir(parents=True)
    (own / "roots.pem").write_bytes(names["user"])
    assert resolve_policy().roots == names["user"]
    monkeypatch.setenv("ATLAS_TRUST", str(tmp_path / "envi.pem"))
    assert resolve_policy().roots == names["envi"]
    policy = write(tmp_path / "policy.json", roots=["poli.pem"])
    assert resolve_policy(policy).roots == names["poli"]
    assert resolve_policy(policy, trust=tmp_path / "argu.pem").roots == names["argu"]
    assert resolve_policy(policy, trust=tmp_path / "argu.pem").origin == str(tmp_path / "argu.pem")


def test_the_working_directory_and_the_artifacts_folder_are_never_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = tmp_path / "artifact"
    planted.mkdir()
    (planted / "roots.pem").write_bytes(ROOT)
    (planted / "root.pem").write_bytes(ROOT)
    write(planted / "policy.json", roots=["roots.pem"])
    (planted / "pyproject.toml").write_text('[tool.atlas]\ntrust = "roots.pem"\npolicy = "policy.json"\n')
    monkeypatch.chdir(planted)
    with pytest.raises(UsageError):
        resolve_policy()


def test_roots_may_be_bytes_a_file_a_directory_or_several(tmp_path: Path, roots: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "b.pem").write_bytes(OTHER)
    (folder / "a.pem").write_bytes(ROOT.rstrip())
    (folder / "notes.txt").write_text("no certificate")
    assert read_roots(ROOT) == ROOT
    assert read_roots(folder) == ROOT + OTHER
    assert read_roots([roots, folder]) == ROOT + ROOT + OTHER


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "holds no PEM certificate"),
        (b"not pem", "holds no PEM certificate"),
        (ROOT + b"-----BEGIN PRIVATE KEY-----\n", "holds a private key"),
        (b"-----BEGIN EC PRIVATE KEY-----\n", "holds a private key"),
    ],
)
def test_a_file_that_holds_no_root_is_refused_by_name(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "x.pem"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=text) as caught:
        read_roots(path)
    assert str(path) in str(caught.value)


def test_an_empty_directory_of_roots_is_refused_and_a_missing_file_is_not_no_roots(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no \*\.pem"):
        resolve_policy(trust=tmp_path / "empty")
    with pytest.raises(NotFound):
        resolve_policy(trust=tmp_path / "missing.pem")


def test_a_policy_file_is_read_whole_with_its_files_relative_to_it(tmp_path: Path, roots: Path) -> None:
    (tmp_path / "a.crl").write_bytes(b"crl")
    path = write(
        tmp_path / "policy.json",
        roots=["roots.pem"],
        tsa_roots=["roots.pem"],
        crls=["a.crl"],
        signers=["Alice"],
        at="2026-11-21T12:00:00Z",
        require_revocation=True,
        require_artifacts=True,
        refuse_unknown_inputs=True,
        allow_redaction=["org.atlasml.metrics"],
    )
    assert load_policy(path) == Policy(
        roots=ROOT,
        tsa_roots=ROOT,
        crls=(b"crl",),
        signers=("Alice",),
        at=1795262400,
        require_revocation=True,
        require_artifacts=True,
        refuse_unknown_inputs=True,
        allow_redaction=("org.atlasml.metrics",),
        origin=str(path),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"version": 1, "refuse_unknown_input": true}', "unknown key 'refuse_unknown_input'"),
        ('{"version": 1, "signers": ["a"], "signers": []}', "stands twice"),
        ('{"version": 2}', "'version' must be 1"),
        ("{}", "'version' must be 1"),
        ('{"version": 1, "signers": "Alice"}', "'signers' must be a list"),
        ('{"version": 1, "signers": [1]}', "'signers' must be a list"),
        ('{"version": 1, "require_artifacts": "yes"}', "must be true or false"),
        ('{"version": 1, "require_artifacts": 1}', "must be true or false"),
        ('{"version": 1, "at": NaN}', "not JSON"),
        ('{"version": 1, "at": "soon"}', "not a time"),
        ('{"version": 1, "at": true}', "not a time"),
        ("[]", "not a JSON object"),
        ("[" * 100_000, "not a policy"),
        ('{"version": 1', "not a policy"),
        ("\ufeff{}", "not a policy"),
    ],
)
def test_a_policy_that_is_not_understood_whole_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "policy.json"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        resolve_policy(path, trust=ROOT)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_environment_names_a_policy_and_the_users_own_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "config" / "atlas"
    own.mkdir(parents=True)
    write(own / "policy.json", signers=["own"])
    assert resolve_policy(trust=ROOT).signers == ("own",)
    monkeypatch.setenv("ATLAS_POLICY", str(write(tmp_path / "p.json", signers=["env"])))
    assert resolve_policy(trust=ROOT).signers == ("env",)
    assert resolve_policy(Policy(), trust=ROOT).signers == ()


def test_a_user_without_a_home_has_no_configuration_and_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_uid: int) -> None:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("ATLAS_STORE", raising=False)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert resolve_policy(trust=ROOT).roots == ROOT
    assert Store().find(Digest("sha256", bytes(32))) == []
    assert not Store().directory.is_relative_to(Path.cwd())


def test_signers_given_as_arguments_narrow_the_policy_and_never_widen_it() -> None:
    pinned = Policy(roots=ROOT, signers=("Alice", "Bob"))
    assert resolve_policy(pinned).signers == ("Alice", "Bob")
    assert resolve_policy(pinned, signer="Bob").signers == ("Bob",)
    assert resolve_policy(pinned, signer=["Bob", "Mallory"]).signers == ("Bob",)
    with pytest.raises(UsageError, match="does not accept 'Mallory'"):
        resolve_policy(pinned, signer="Mallory")
    assert resolve_policy(Policy(roots=ROOT), signer="Bob").signers == ("Bob",)


def test_revocation_lists_come_on_top_of_the_policys(tmp_path: Path) -> None:
    path = tmp_path / "b.crl"
    path.write_bytes(b"b")
    assert resolve_policy(Policy(roots=ROOT, crls=(b"a",)), crls=[path]).crls == (b"a", b"b")


def test_resolving_twice_changes_nothing(roots: Path) -> None:
    once = resolve_policy(trust=roots, signer="Alice", at="2026-01-01")
    assert resolve_policy(once) == once


def test_times_are_read_as_utc_unless_they_say_otherwise() -> None:
    noon = 1795262400
    east = timezone(timedelta(hours=2))
    for value in (noon, float(noon), "2026-11-21T12:00:00", "2026-11-21T12:00:00Z", "2026-11-21T14:00:00+02:00"):
        assert parse_time(value) == noon
    assert parse_time(datetime(2026, 11, 21, 14, tzinfo=east)) == noon
    assert parse_time(datetime(2026, 11, 21, 12, tzinfo=UTC)) == noon
    assert parse_time(None) is None
