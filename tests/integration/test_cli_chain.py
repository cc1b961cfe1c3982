"""keygen, sign, verify, inspect, lineage, find, bundle: a chain through the real command."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from command import ATLAS, Command, on_a_terminal
from forge import chain, world

from atlas.store import Store

TRUST = ("--trust", "keys/root.pem")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# ------------------------------------------------------------------------------------------- what errors name


@pytest.mark.parametrize("option", ["--bundle", "--root", "--proofs"])
def test_a_folder_that_was_named_and_is_not_there_is_an_error(atlas: Command, signed: Path, option: str) -> None:
    ran = atlas("verify", "model.pt", *TRUST, option, "no-such-folder")
    assert (ran.returncode, ran.stdout) == (6, "")
    assert "no-such-folder: no such directory" in ran.stderr


@pytest.mark.parametrize("verb", [["inspect"], ["lineage"], ["bundle"], ["log", "verify"]])
def test_a_damaged_sidecar_is_named_and_a_missing_artifact_is_called_missing(
    atlas: Command, signed: Path, verb: list[str]
) -> None:
    after = ["out"] if verb == ["bundle"] else []
    sidecar = signed / "model.pt.c2pa"
    sidecar.write_bytes(sidecar.read_bytes()[:700])
    ran = atlas(*verb, "model.pt", *after)
    assert ran.returncode == 5
    assert "model.pt.c2pa: store at byte 0: a box that is longer than what it lies in" in ran.stderr
    assert "nothing.pt: no such file or directory" in atlas(*verb, "nothing.pt", *after).stderr


def test_a_file_that_is_no_evidence_is_named(atlas: Command, signed: Path) -> None:
    ran = atlas("attest", "info", "model.pt")
    assert ran.returncode == 5
    assert "model.pt at byte 0: neither a TDX quote" in ran.stderr


def test_a_verdict_on_a_damaged_sidecar_names_the_artifact_and_no_signer(atlas: Command, signed: Path) -> None:
    sidecar = signed / "model.pt.c2pa"
    sidecar.write_bytes(sidecar.read_bytes()[:700])
    shown = atlas("verify", "model.pt", *TRUST).stdout
    assert "  - model.pt: store: a box that is longer" in shown
    assert "  x model.pt  signer not known  bytes not measured" in shown
    assert "Get it again" in shown


def test_a_log_policy_that_cannot_be_read_is_named(atlas: Command, signed: Path) -> None:
    (signed / "typo.policy").write_text("logg x y\n")
    ran = atlas("verify", "model.pt", *TRUST, "--log-policy", "typo.policy")
    assert ran.returncode == 2
    assert "typo.policy: line 1: it begins with none of" in ran.stderr


# ---------------------------------------------------------------------------------------------- keygen, sign


def test_keygen_makes_a_key_that_only_its_owner_reads_and_never_overwrites_it(atlas: Command, work: Path) -> None:
    ran = atlas("keygen", "--name", "Alice", "keys", "--json")
    assert ran.returncode == 0, ran.stderr
    files = json.loads(ran.stdout)["files"]
    assert {Path(name).name for name in files.values()} == {"root.pem", "chain.pem", "key.pem", "root-key.pem"}
    assert stat.S_IMODE((work / "keys" / "key.pem").stat().st_mode) == 0o600
    before = (work / "keys" / "key.pem").read_bytes()
    again = atlas("keygen", "--name", "Mallory", "keys")
    assert again.returncode not in (0, 1)
    assert (work / "keys" / "key.pem").read_bytes() == before


def test_sign_writes_a_sidecar_and_an_index_and_changes_no_artifact(signed: Path) -> None:
    assert (signed / "model.pt").read_bytes() == b"weights" * 1000
    assert (signed / "model.pt.c2pa").is_file()
    assert (signed / "data.c2pa").is_file()
    assert (signed / "data.c2pa-index").read_text().startswith("atlas-index 1 sha256\n")
    assert sorted(p.name for p in (signed / "data").iterdir()) == ["a.txt", "b.txt"]


def test_sign_says_as_json_what_it_did(atlas: Command, signed: Path) -> None:
    ran = atlas("sign", "model.pt", "--key", "keys/key.pem", "--ingredient", "data:parentOf", "--json")
    document = json.loads(ran.stdout)
    assert document["manifest"] == "model.pt.c2pa"
    assert document["ingredients"] == ["data"]
    assert document["gaps"] == []
    inspected = json.loads(atlas("inspect", "model.pt", "--json").stdout)
    assert inspected["sha256"] == document["sha256"]
    (ingredient,) = [
        a["content"] for a in inspected["manifests"][-1]["assertions"] if a["label"].startswith("c2pa.ingredient")
    ]
    assert ingredient["relationship"] == "parentOf"


def test_a_role_speaks_of_the_ingredients_that_come_after_it(atlas: Command, signed: Path) -> None:
    (signed / "base.pt").write_bytes(b"base")
    roles = ("--ingredient", "base.pt", "--role", "training data", "--ingredient", "data", "--role", "base model")
    assert atlas("sign", "model.pt", "--key", "keys/key.pem", *roles).returncode == 0
    graph = json.loads(atlas("lineage", "model.pt", "--json").stdout)
    root = next(node for node in graph["nodes"] if node["urn"] == graph["root"])
    assert [(link["name"], link["role"]) for link in root["inputs"]] == [("base.pt", "data"), ("data", "training data")]


def test_an_ingredient_whose_bytes_changed_becomes_a_gap_and_says_so(atlas: Command, signed: Path) -> None:
    (signed / "data" / "a.txt").write_text("changed\n")
    ran = atlas("sign", "model.pt", "--key", "keys/key.pem", "--ingredient", "data")
    assert ran.returncode == 0
    assert "its manifest was not used" in ran.stderr
    verdict = json.loads(atlas("verify", "model.pt", *TRUST, "--json").stdout)
    assert (verdict["answer"], verdict["unknown_inputs"], verdict["gaps"]) == ("VALID", 1, 1)


def test_without_a_key_sign_says_how_to_get_one(atlas: Command, work: Path) -> None:
    (work / "f").write_bytes(b"x")
    ran = atlas("sign", "f")
    assert ran.returncode == 2
    assert "ATLAS_KEY" in ran.stderr
    assert "keygen" in ran.stderr


def test_the_key_may_come_from_the_environment(atlas: Command, signed: Path) -> None:
    assert atlas("sign", "model.pt", ATLAS_KEY=str(signed / "keys" / "key.pem")).returncode == 0


def test_a_sidecar_that_cannot_be_written_goes_to_the_store_alone_and_is_found_there(
    atlas: Command, signed: Path, tmp_path: Path
) -> None:
    (signed / "model.pt.c2pa").unlink()
    (signed / "model.pt.c2pa").mkdir()  # a rename onto a directory fails, for root too
    ran = atlas("sign", "model.pt", "--key", "keys/key.pem")
    assert ran.returncode == 0, ran.stderr
    assert "alone has the manifest" in ran.stderr
    (signed / "model.pt.c2pa").rmdir()
    verdict = json.loads(atlas("verify", "model.pt", *TRUST, "--json").stdout)
    assert verdict["answer"] == "VALID"
    assert verdict["manifest_from"].startswith("store, ")


def test_a_store_that_cannot_be_written_does_not_stop_signing(atlas: Command, signed: Path) -> None:
    (signed / "in-the-way").write_text("a file")
    ran = atlas("sign", "model.pt", "--key", "keys/key.pem", ATLAS_STORE=str(signed / "in-the-way"))
    assert ran.returncode == 0
    assert "no copy in the store" in ran.stderr
    assert atlas("verify", "model.pt", *TRUST).returncode == 0


def encrypted_key(work: Path, password: bytes) -> None:
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key((work / "keys" / "key.pem").read_bytes(), None)
    locked = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(password))
    (work / "keys" / "locked.pem").write_bytes(locked)


def test_a_password_comes_from_a_file_or_the_environment_and_never_from_argv(atlas: Command, signed: Path) -> None:
    encrypted_key(signed, b"correct horse")
    (signed / "password").write_text("correct horse\n")
    words = ("sign", "model.pt", "--key", "keys/locked.pem")
    assert atlas(*words, "--password-file", "password").returncode == 0
    assert atlas(*words, ATLAS_KEY_PASSWORD="correct horse").returncode == 0
    wrong = atlas(*words, ATLAS_KEY_PASSWORD="battery staple")
    assert wrong.returncode == 2
    assert "battery" not in wrong.stdout + wrong.stderr
    without = atlas(*words)
    assert without.returncode == 2
    assert "ATLAS_KEY_PASSWORD" in without.stderr
    assert "--password " not in atlas("sign", "--help").stdout


def test_a_password_is_asked_for_on_a_terminal_and_not_shown(signed: Path, home: dict[str, str]) -> None:
    encrypted_key(signed, b"correct horse")
    words = [*ATLAS, "sign", "model.pt", "--key", "keys/locked.pem"]
    code, shown = on_a_terminal(words, signed, home, keys="correct horse\n", delay=1.5)
    assert code == 0, shown
    assert "password of keys/locked.pem" in shown


# ---------------------------------------------------------------------------------------------------- verify


def test_verify_gives_the_verdict_first_with_its_counts(atlas: Command, signed: Path) -> None:
    ran = atlas("verify", "model.pt", *TRUST)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    first, *rest = ran.stdout.splitlines()
    assert first.startswith("VALID  model.pt  (2 of 2 artifacts present")
    assert sum("signed by Alice" in line for line in rest) == 2


@pytest.mark.parametrize(
    ("change", "code", "answer"),
    [
        (lambda w: flip(w / "model.pt"), 1, "INVALID"),
        (lambda w: flip(w / "data" / "a.txt"), 1, "INVALID"),
        (lambda w: (w / "data" / "extra.txt").write_text("x"), 1, "INVALID"),
        (lambda w: (w / "model.pt.c2pa").write_bytes(b""), 5, "MALFORMED"),
        (lambda w: (w / "model.pt.c2pa").write_bytes(b"\0" * (65 << 20)), 5, None),
        (lambda w: (w / "model.pt").unlink(), 6, None),
    ],
    ids=["model", "data", "extra file", "empty sidecar", "huge sidecar", "no artifact"],
)
def test_each_answer_has_its_exit_code(
    atlas: Command, signed: Path, change: object, code: int, answer: str | None
) -> None:
    change(signed)  # type: ignore[operator]
    ran = atlas("verify", "model.pt", *TRUST, ATLAS_STORE=str(signed / "no store"))
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert ran.stdout.startswith(answer or "")
    assert (ran.stdout + ran.stderr).strip()
    if answer:
        assert "what to do:" in ran.stdout


def test_a_missing_manifest_is_incomplete_and_an_unknown_signer_untrusted(atlas: Command, signed: Path) -> None:
    assert atlas("keygen", "--name", "Alice", "other").returncode == 0
    assert atlas("verify", "model.pt", "--trust", "other/root.pem").returncode == 3
    (signed / "model.pt.c2pa").unlink()
    ran = atlas("verify", "model.pt", *TRUST, ATLAS_STORE=str(signed / "no store"))
    assert ran.returncode == 4
    assert ran.stdout.startswith("INCOMPLETE  model.pt")


def test_without_roots_verify_is_a_usage_error_that_says_where_to_put_them(atlas: Command, signed: Path) -> None:
    ran = atlas("verify", "model.pt")
    assert ran.returncode == 2
    assert ran.stdout == ""
    for way in ("--trust", "ATLAS_TRUST", "roots.pem"):
        assert way in ran.stderr
    assert atlas("verify", "model.pt", ATLAS_TRUST=str(signed / "keys" / "root.pem")).returncode == 0


def test_roots_planted_beside_the_artifact_are_not_used(atlas: Command, signed: Path) -> None:
    for name in ("root.pem", "roots.pem"):
        shutil.copy(signed / "keys" / "root.pem", signed / name)
    (signed / "pyproject.toml").write_text('[tool.atlas]\ntrust = "root.pem"\n')
    assert atlas("verify", "model.pt").returncode == 2


@pytest.mark.skipif(
    os.geteuid() == 0 and not shutil.which("setpriv"), reason="root needs setpriv to be refused anything"
)
def test_a_home_that_is_closed_to_us_is_a_user_without_configuration(signed: Path, home: dict[str, str]) -> None:
    humble = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    closed = signed / "closed"
    closed.mkdir(mode=0)
    environment = {**home, "HOME": str(closed), "PYTHONPYCACHEPREFIX": str(signed / "cache")}
    del environment["ATLAS_STORE"]
    for words in (["verify", "model.pt", *TRUST], ["inspect", "model.pt"], ["lineage", "model.pt"]):
        ran = subprocess.run(
            [*humble, *ATLAS, *words], cwd=signed, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr


def test_a_signer_that_was_not_named_is_untrusted(atlas: Command, signed: Path) -> None:
    assert atlas("verify", "model.pt", *TRUST, "--signer", "Alice").returncode == 0
    ran = atlas("verify", "model.pt", *TRUST, "--signer", "Bob")
    assert ran.returncode == 3
    assert "Alice" in ran.stdout


def test_a_policy_file_is_applied(atlas: Command, signed: Path) -> None:
    (signed / "alien.txt").write_text("no manifest")
    atlas("sign", "model.pt", "--key", "keys/key.pem", "--ingredient", "alien.txt")
    assert atlas("verify", "model.pt", *TRUST).returncode == 0
    (signed / "policy.json").write_text('{"version": 1, "roots": ["keys/root.pem"], "refuse_unknown_inputs": true}')
    assert atlas("verify", "model.pt", "--policy", "policy.json").returncode == 3
    (signed / "policy.json").write_text('{"version": 1, "root": ["keys/root.pem"]}')
    assert atlas("verify", "model.pt", "--policy", "policy.json").returncode == 2


def test_json_is_one_document_with_every_check(atlas: Command, signed: Path) -> None:
    for change in (lambda: None, lambda: flip(signed / "model.pt")):
        change()
        ran = atlas("verify", "model.pt", *TRUST, "--json")
        document = json.loads(ran.stdout)
        assert document["exit_code"] == ran.returncode
        assert {check["status"] for check in document["checks"]} <= {
            "passed",
            "failed",
            "note",
            "not required",
            "not run",
        }
        assert len(document["nodes"]) == 2


def test_colour_is_for_terminals_that_want_it(signed: Path, home: dict[str, str], atlas: Command) -> None:
    words = [*ATLAS, "verify", "model.pt", *TRUST]
    assert "\x1b[32mVALID" in on_a_terminal(words, signed, {**home, "TERM": "xterm"})[1]
    assert "\x1b[3" not in on_a_terminal(words, signed, {**home, "TERM": "xterm", "NO_COLOR": "1"})[1]
    assert "\x1b[3" not in on_a_terminal(words, signed, {**home, "TERM": "dumb"})[1]
    assert "\x1b" not in atlas("verify", "model.pt", *TRUST).stdout


# ---------------------------------------------------------------------------------- inspect, lineage, find, bundle


def test_inspect_reads_artifact_and_sidecar_alike_and_says_that_it_verified_nothing(
    atlas: Command, signed: Path
) -> None:
    flip(signed / "model.pt")
    by_artifact, by_sidecar = atlas("inspect", "model.pt"), atlas("inspect", "model.pt.c2pa")
    assert by_artifact.stdout == by_sidecar.stdout
    assert by_artifact.returncode == 0
    assert "not verified" in by_artifact.stdout.splitlines()[1]
    assert "signed by   Alice" in by_artifact.stdout
    assert "training data: data" in by_artifact.stdout
    everything = atlas("inspect", "model.pt", "--all").stdout
    assert "c2pa.actions.v2" in everything
    assert len(everything) > len(by_artifact.stdout)
    assert json.loads(atlas("inspect", "model.pt", "--json").stdout)["verified"] is False


def test_what_is_no_manifest_cannot_be_inspected(atlas: Command, work: Path) -> None:
    (work / "x.c2pa").write_bytes(b"not a manifest")
    assert atlas("inspect", "x.c2pa").returncode == 5
    (work / "f").write_bytes(b"x")
    ran = atlas("inspect", "f")
    assert ran.returncode == 6
    assert "f.c2pa" in ran.stderr


def test_lineage_draws_a_diamond_once_and_then_refers_to_it(atlas: Command, work: Path) -> None:
    raw = chain.make("raw.txt", b"raw", world.CURATOR)
    left = chain.make("left.txt", b"left", world.PREPARER, [chain.Input(raw)])
    right = chain.make("right.txt", b"right", world.PREPARER, [chain.Input(raw)])
    top = chain.make("top.pt", b"top", world.TUNER, [chain.Input(left), chain.Input(right)])
    top.write(work)
    lines = atlas("lineage", "top.pt").stdout.splitlines()
    assert [line.split("  (")[0] for line in lines] == [
        "top.pt",
        "├─ data: left.txt",
        "│  └─ data: [1] raw.txt",
        "└─ data: right.txt",
        "   └─ data: raw.txt",
    ]
    assert lines[4].endswith("(see [1])")
    assert "signed by Tuner" in lines[0]


def test_lineage_follows_references_and_names_what_is_missing_or_unknown(atlas: Command, work: Path) -> None:
    for made in world.honest("refer").values():
        made.write(work)
    report = "eval/report.json"
    assert "raw" in atlas("lineage", report).stdout
    (work / "data" / "raw.c2pa").unlink()
    (work / "tuned" / "model.pt.c2pa").rename(work / "elsewhere.c2pa")
    shown = atlas("lineage", report).stdout
    assert "tuned/model.pt  (manifest missing)" in shown
    assert "data/held-out  (signed by" in shown


def test_a_deep_chain_is_cut_with_a_word_on_how_to_see_more(atlas: Command, work: Path) -> None:
    made = chain.line(world.CA, 60)
    made.write(work)
    shown = atlas("lineage", made.name)
    assert shown.returncode == 0
    assert "--depth" in shown.stdout
    assert "--depth" not in atlas("lineage", made.name, "--depth", "100").stdout


def test_find_names_the_run_by_the_bytes_alone(atlas: Command, signed: Path) -> None:
    (signed / "elsewhere").mkdir()
    (signed / "model.pt").rename(signed / "elsewhere" / "renamed.bin")
    ran = atlas("find", "elsewhere/renamed.bin")
    assert ran.returncode == 0
    assert "as model.pt" in ran.stdout
    (found,) = json.loads(atlas("find", "elsewhere/renamed.bin", "--json").stdout)["found"]
    assert found["name"] == "model.pt"
    (signed / "stranger").write_bytes(b"never seen")
    unknown = atlas("find", "stranger")
    assert unknown.returncode == 4
    assert unknown.stdout == ""
    assert json.loads(atlas("find", "stranger", "--json").stdout)["found"] == []


def test_a_bundle_carries_everything_to_a_machine_that_has_nothing(atlas: Command, work: Path, tmp_path: Path) -> None:
    for made in world.honest("refer").values():
        made.write(work)
    (work / "root.pem").write_text(world.pki.roots(world.ROOT))
    ran = atlas("bundle", "eval/report.json", "out")
    assert ran.returncode == 0, ran.stderr
    away = tmp_path / "away"
    away.mkdir()
    shutil.copy(work / "eval" / "report.json", away)
    shutil.copytree(work / "out", away / "out")
    words = ("verify", away / "report.json", "--manifest", away / "out" / "report.json.c2pa", "--trust", "root.pem")
    nothing = {"ATLAS_STORE": str(tmp_path / "empty")}
    assert atlas(*words, **nothing).returncode == 4
    complete = atlas(*words, "--bundle", away / "out", **nothing)
    assert complete.returncode == 0, complete.stdout
    assert complete.stdout.splitlines()[0].startswith("VALID")
    assert "1 of 6 artifacts present" in complete.stdout


def test_a_bundle_that_misses_an_ancestor_names_it_and_fails(atlas: Command, work: Path) -> None:
    for made in world.honest("refer").values():
        made.write(work)
    (work / "data" / "raw.c2pa").unlink()
    ran = atlas("bundle", "eval/report.json", "out")
    assert ran.returncode == 4
    assert "data/raw" in ran.stderr
    document = json.loads(atlas("bundle", "eval/report.json", "out", "--json").stdout)
    assert [missing["name"] for missing in document["missing"]] == ["data/raw"]


@pytest.mark.parametrize(
    "data",
    [
        {"url": "http://x", "alg": "md5", "hash": bytes(16)},
        {"url": "http://x", "alg": "sha256", "hash": bytes(31)},
        {"url": "http://x", "alg": "sha256", "hash": "text"},
        {"url": "http://x", "hash": bytes(32)},
        {"url": "http://x", "alg": "sha256", "hash": bytes(32)},
    ],
)
@pytest.mark.parametrize("title", ["../../etc/passwd", "a\0b", "/dev/zero", "n" * 5000])
def test_a_hostile_reference_is_missing_and_nothing_more(atlas: Command, work: Path, data: object, title: str) -> None:
    raw = chain.make("raw.txt", b"raw", world.CURATOR)
    evil = chain.reopened(chain.make("m.pt", b"weights", world.TUNER, [chain.Input(raw, mode="refer")])).store
    evil.active.touch()["c2pa.ingredient.v3"].content |= {"data": data, "dc:title": title}
    (work / "m.pt").write_bytes(b"weights")
    (work / "m.pt.c2pa").write_bytes(bytes(evil))
    shown, gathered = atlas("lineage", "m.pt"), atlas("bundle", "m.pt", "out")
    assert shown.returncode == 0, shown.stderr
    assert gathered.returncode in (0, 4), gathered.stderr
    assert "m.pt" in shown.stdout


def test_a_ladder_of_references_with_two_to_the_thirty_paths_takes_no_longer_than_its_rungs(
    atlas: Command, work: Path
) -> None:
    left, right = (chain.make(f"0/{side}", side.encode(), world.CURATOR) for side in ("left", "right"))
    everything = [left, right]
    for n in range(1, 31):
        inputs = [chain.Input(left, mode="refer"), chain.Input(right, mode="refer")]
        left, right = (chain.make(f"{n}/{s}", f"{s}{n}".encode(), world.CURATOR, inputs) for s in ("left", "right"))
        everything += [left, right]
    for made in everything:
        made.write(work)
    gathered = atlas("bundle", "30/left", "out")
    assert gathered.returncode == 0, gathered.stderr
    assert len(gathered.stdout.splitlines()) == 61
    shown = atlas("lineage", "30/left", "--depth", "100").stdout.splitlines()
    assert len(shown) == 1 + 2 * 59  # the artifact, and two inputs of each of the others but the lowest two
    assert sum("(see [" in line for line in shown) == 2 * 59 - 60


def test_doctor_knows_chains_elsewhere_and_keys_of_a_tpm(atlas: Command, signed: Path) -> None:
    (signed / "keys" / "chain.pem").rename(signed / "chain.pem")

    def key(**environment: str) -> tuple[str, str]:
        found = json.loads(atlas("doctor", "--no-hooks", "--json", **environment).stdout)["findings"]
        return next((f["state"], f["text"]) for f in found if f["what"] == "key")

    assert key(ATLAS_KEY="keys/key.pem")[0] == "broken"
    assert key(ATLAS_KEY="keys/key.pem", ATLAS_CHAIN="chain.pem")[0] == "ok"
    assert key(ATLAS_KEY="tpm:keys/key.pem", ATLAS_CHAIN="chain.pem")[0] == "ok"
    assert "ATLAS_CHAIN names gone.pem" in key(ATLAS_KEY="keys/key.pem", ATLAS_CHAIN="gone.pem")[1]


def test_doctor_says_what_waits_to_be_logged(atlas: Command, signed: Path) -> None:
    def logs() -> tuple[str, str]:
        found = json.loads(atlas("doctor", "--no-hooks", "--json").stdout)["findings"]
        return next((f["state"], f["text"]) for f in found if f["what"] == "logs")

    assert logs()[0] == "ok" and logs()[1].startswith("none is trusted")
    assert atlas("log", "init", "log", "--origin", "log.example/doctor").returncode == 0
    assert logs() == ("ok", "1 trusted")
    assert atlas("log", "add", "model.pt", "--url", "http://127.0.0.1:1/").returncode == 6
    state, text = logs()
    assert state == "missing" and "not logged yet: 1" in text


def test_doctor_finds_what_is_there_and_what_is_not(atlas: Command, signed: Path) -> None:
    bare = json.loads(atlas("doctor", "--no-hooks", "--json").stdout)
    states = {finding["what"]: finding["state"] for finding in bare["findings"]}
    assert states["core"] == states["store"] == "ok"
    assert states["key"] == states["trust"] == "missing"
    assert bare["broken"] == []
    keys = signed / "keys"
    full = atlas("doctor", "--no-hooks", ATLAS_KEY=str(keys / "key.pem"), ATLAS_TRUST=str(keys / "root.pem"))
    assert full.returncode == 0
    assert "missing" not in full.stdout
    broken = atlas("doctor", "--no-hooks", ATLAS_KEY=str(keys / "gone.pem"))
    assert broken.returncode == 6
    assert "gone.pem" in broken.stdout


# ------------------------------------------------------------------------------------------------ hostile names


HOSTILE = [
    "\x1b[2J\x1b[32mVALID\x1b[0m  model.pt",
    "x\u202etp.exe",
    "a\nVALID  model.pt",
    "</script><script>alert(1)</script>",
    "::error file=x::boom",
    "n" * 10_000,
]


@pytest.mark.parametrize("name", HOSTILE, ids=["ansi", "bidi", "newline", "html", "ci", "long"])
def test_hostile_names_in_a_manifest_are_shown_harmlessly_by_every_verb(atlas: Command, work: Path, name: str) -> None:
    evil = chain.reopened(chain.make("m.pt", b"weights", world.TUNER)).store
    active = evil.active.touch()
    active["org.atlasml.measurement"].content |= {"name": name}
    active["c2pa.hash.data"].content |= {"name": name}
    active["org.atlasml.run"].content = {"run": name, "step": name, name: name}
    active["org.atlasml.coverage"].content = {"version": 1, "seen": 0, "gaps": [{"what": name, "reason": name}]}
    (work / "m.pt").write_bytes(b"weights")
    (work / "m.pt.c2pa").write_bytes(bytes(evil))
    (work / "root.pem").write_text(world.pki.roots(world.ROOT))
    for words in (
        ("verify", "m.pt", "--trust", "root.pem"),
        ("inspect", "m.pt"),
        ("inspect", "m.pt", "--all"),
        ("lineage", "m.pt"),
        ("bundle", "m.pt", "out"),
    ):
        ran = atlas(*words)
        shown = ran.stdout + ran.stderr
        assert "an error in Atlas itself" not in shown
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert not any(line.lstrip().startswith(("::", "VALID  model.pt")) for line in shown.splitlines())
        assert max(map(len, shown.splitlines())) < 1500
        json.loads(atlas(*words, "--json").stdout)


def test_hostile_names_in_the_store_are_shown_harmlessly_by_find(atlas: Command, signed: Path) -> None:
    evil = chain.reopened(chain.make("m.pt", b"other weights", world.TUNER)).store
    evil.active.touch()["org.atlasml.run"].content = {"run": HOSTILE[0], "step": "a\n::error::x"}
    Store(signed.parent / "store").put(bytes(evil))
    (signed / "m.pt").write_bytes(b"other weights")
    ran = atlas("find", "m.pt")
    assert ran.returncode == 0
    assert "\x1b" not in ran.stdout
    assert not any(line.lstrip().startswith("::") for line in ran.stdout.splitlines())
