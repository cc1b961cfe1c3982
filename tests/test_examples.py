"""The case study, at toy sizes, and the pieces it is made of."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from case_study import ROOT, SCRIPT, CaseStudy, environment, quick

import atlas

BERT = ROOT / "examples" / "bert"
CHAIN = {
    "report.json": "Evaluator",
    "model/model.pt": "Model Maker",
    "base/model.pt": "Model Maker",
    "tokenizer/vocab.txt": "Model Maker",
    "data/train.jsonl": "Data Provider",
    "data/test.jsonl": "Data Provider",
    "raw": "Data Provider",
}


@pytest.fixture(scope="module")
def study() -> CaseStudy:
    pytest.importorskip("torch")
    done = quick()
    assert done.code == 0, done.log
    return done


def verify(study: CaseStudy, name: str) -> atlas.Verdict:
    return atlas.verify(study.out / name, trust=study.out / "keys" / "trust", store=study.out / "store")


# ------------------------------------------------------------------------------------------------ the whole of it


def test_the_chain_leads_from_the_report_back_to_the_raw_data(study: CaseStudy) -> None:
    verdict = verify(study, "report.json")
    assert verdict, verdict.explain()
    assert {node.name: node.signer.name for node in verdict.nodes if node.signer} == CHAIN
    assert verdict.measured == len(CHAIN) and verdict.unknown == 0 and verdict.gaps == 0


def test_every_step_is_signed_with_what_it_read(study: CaseStudy) -> None:
    nodes = {node.name: {edge.name: edge.role for edge in node.inputs} for node in verify(study, "report.json").nodes}
    assert nodes["model/model.pt"] == {
        "base/model.pt": "base model",
        "data/train.jsonl": "training data",
        "tokenizer/vocab.txt": "tokenizer",
    }
    assert nodes["report.json"]["model/model.pt"] == "model"
    assert nodes["report.json"]["data/test.jsonl"] == "evaluation data"
    assert nodes["raw"] == {}


def test_the_report_says_what_was_measured_and_so_does_its_manifest(study: CaseStudy) -> None:
    from atlas.entry import content, read_manifests

    report = json.loads((study.out / "report.json").read_text())
    manifest = read_manifests((study.out / "report.json.c2pa").read_bytes())[-1]
    metrics = content(manifest, "org.atlasml.metrics")["results"]
    assert {row["name"]: row["value"] for row in metrics} == report["accuracy"]
    assert "pre-trained locally" in report["model"] and "bert-base" not in json.dumps(report)


def test_the_altered_copy_is_refused_and_the_honest_one_is_not(study: CaseStudy) -> None:
    assert "INVALID  altered/report.json" in study.log and "(exit code 1)" in study.log
    assert "UNTRUSTED  altered/base/model.pt" in study.log and "(exit code 3)" in study.log
    assert verify(study, "base/model.pt")
    assert verify(study, "altered/base/model.pt").answer == "UNTRUSTED"  # signed again by a stranger


def test_enforce_refuses_the_altered_base_before_anything_is_saved(study: CaseStudy) -> None:
    assert "VerificationError" in study.log
    assert not (study.out / "altered" / "model.pt").exists()


def test_the_quick_mode_is_quick(study: CaseStudy) -> None:
    assert study.seconds < 150  # about 25 on two free cores


def test_a_folder_with_something_else_in_it_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path)]
    run = subprocess.run(command, env=environment(), check=False, capture_output=True, text=True)
    assert run.returncode == 1 and "--out" in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


# --------------------------------------------------------------------------------------------------- its pieces


@pytest.fixture
def bert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BERT))
    for name in ("wordpiece", "dataset", "data", "model"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.usefixtures("bert")
def test_wordpiece_merges_what_is_frequent_and_spells_what_is_not(tmp_path: Path) -> None:
    import wordpiece

    vocabulary = wordpiece.train(["low low low lower lowest new newer"], 40)
    assert vocabulary[:5] == wordpiece.SPECIAL
    assert "low" in vocabulary and len(set(vocabulary)) == len(vocabulary) <= 40
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
    tokenizer = wordpiece.Tokenizer(tmp_path / "vocab.txt")
    assert [tokenizer.pieces[i] for i in tokenizer.encode("low new")] == ["low", "new"]
    spelled = [tokenizer.pieces[i] for i in tokenizer.encode("newst")]
    assert len(spelled) > 1 and "".join(piece.removeprefix("##") for piece in spelled) == "newst"
    assert tokenizer.encode("zzz") == [wordpiece.UNK]
    padded = tokenizer.padded("low", 5)
    assert padded[0] == wordpiece.CLS and padded[2] == wordpiece.SEP and padded[3:] == [wordpiece.PAD] * 2


@pytest.mark.usefixtures("bert")
def test_wordpiece_does_not_depend_on_the_order_of_hashes(tmp_path: Path) -> None:
    script = "import wordpiece; print(wordpiece.train(['the cat sat on the mat with the hat'] * 3, 60))"

    def vocabulary(seed: str) -> bytes:
        environ = environment(PYTHONHASHSEED=seed)
        return subprocess.run(
            [sys.executable, "-c", script], cwd=BERT, env=environ, capture_output=True, check=True
        ).stdout

    assert len({vocabulary(seed) for seed in ("1", "2", "3")}) == 1


@pytest.mark.usefixtures("bert")
def test_the_data_set_is_split_by_file_and_has_no_text_twice() -> None:
    import dataset

    found = dataset.unique(list(dataset.rows(quick().out / "raw")))
    held_out = dataset.test_files(found)
    texts = [row["text"].lower() for row in found]
    assert len(texts) == len(set(texts))
    for label in dataset.LABELS:
        rows = [row for row in found if row["label"] == label]
        share = sum(row["file"] in held_out for row in rows) / len(rows)
        assert 0 < share <= dataset.TEST_SHARE, label


@pytest.mark.usefixtures("bert")
def test_a_text_under_two_labels_is_left_out() -> None:
    import dataset

    rows = [
        {"text": "Return the name.", "label": "xml", "file": "xml/a.py"},
        {"text": "return the name.", "label": "http", "file": "http/b.py"},
        {"text": "Only once here.", "label": "http", "file": "http/b.py"},
        {"text": "Only once here.", "label": "http", "file": "http/c.py"},
    ]
    assert dataset.unique(rows) == [rows[2]]
