"""What holds for every verb: exit codes, streams, terminals, interrupts, completion."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command import ATLAS, Command, on_a_terminal

VERBS = (
    "keygen", "sign", "verify", "inspect", "lineage", "find", "bundle", "digest", "diff", "attest", "log",
    "doctor", "completion",
)  # fmt: skip


def test_without_a_verb_it_explains_itself_and_is_a_usage_error(atlas: Command) -> None:
    ran = atlas()
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert "start here" in ran.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(atlas: Command, verb: str) -> None:
    ran = atlas(verb, "--help")
    assert ran.returncode == 0
    assert ran.stdout.startswith(f"usage: atlas {verb}")


def test_help_fits_a_terminal_of_80_columns_but_for_its_tables(atlas: Command) -> None:
    for words in ([], ["sign"], ["verify"], ["inspect"], ["log"]):
        lines = atlas(*words, "--help", COLUMNS="80").stdout.splitlines()
        assert [line for line in lines if len(line) > 80 and "  " not in line] == []
    assert "\n  atlas log init DIR " in atlas("log", "--help", COLUMNS="80").stdout


@pytest.mark.parametrize("verb", ["verify", "sign", "inspect", "lineage", "find", "bundle", "digest", "completion"])
def test_a_missing_or_unknown_argument_is_exit_code_2(atlas: Command, verb: str) -> None:
    assert atlas(verb).returncode == 2
    assert atlas(verb, "--no-such-option").returncode == 2


def test_an_unknown_option_shows_how_its_own_verb_is_used(atlas: Command) -> None:
    for verb in (["verify"], ["log", "check"], ["attest", "enroll", "issue"]):
        ran = atlas(*verb, *["x"] * 3, "--no-such-option")
        assert ran.returncode == 2
        assert ran.stderr.startswith(f"usage: atlas {' '.join(verb)} [-h]"), ran.stderr


def test_options_are_not_guessed_from_their_beginnings(atlas: Command) -> None:
    assert atlas("digest", "x", "--fla").returncode == 2


def test_the_version_is_on_stdout(atlas: Command) -> None:
    ran = atlas("--version")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("atlas ")


def test_digest_prints_what_sha256sum_prints(atlas: Command, work: Path) -> None:
    (work / "f").write_bytes(os.urandom(3_000_000))
    expected = subprocess.run(["sha256sum", "f"], cwd=work, capture_output=True, text=True, check=True).stdout
    assert atlas("digest", "--flat", "f").stdout == expected
    tree = atlas("digest", "f").stdout.split()[0]
    document = json.loads(atlas("digest", "--json", "f").stdout)
    assert document["flat"] == f"sha256:{expected.split()[0]}"
    assert document["tree"] == f"sha256:{tree}"
    assert (document["kind"], document["size"], document["files"]) == ("file", 3_000_000, None)
    assert tree != expected.split()[0]


def test_digest_of_a_directory_counts_its_files(atlas: Command, work: Path) -> None:
    (work / "d" / "sub").mkdir(parents=True)
    for name in ("a", "sub/b"):
        (work / "d" / name).write_text(name)
    document = json.loads(atlas("digest", "--json", "d").stdout)
    assert (document["kind"], document["files"], document["size"]) == ("directory", 2, 6)


def test_a_file_that_is_not_there_could_not_be_checked_and_the_error_names_it(atlas: Command) -> None:
    for verb in ("digest", "find"):
        ran = atlas(verb, "missing.pt")
        assert ran.returncode == 6
        assert ran.stdout == ""
        assert "missing.pt" in ran.stderr


def test_with_json_an_error_is_one_document_too(atlas: Command) -> None:
    ran = atlas("digest", "--json", "missing.pt")
    document = json.loads(ran.stdout)
    assert document["exit_code"] == ran.returncode == 6
    assert document["error"]["class"] == "NotFound"
    assert "Traceback" not in ran.stderr


def test_nobody_reading_the_output_is_no_traceback_and_no_success(work: Path, home: dict[str, str]) -> None:
    (work / "f").write_bytes(b"x")
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run(
        [*ATLAS, "digest", "f"], cwd=work, env=home, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert ran.returncode == 141
    assert ran.stderr == ""


def test_a_full_disk_under_stdout_is_no_success(work: Path, home: dict[str, str]) -> None:
    (work / "f").write_bytes(b"x")
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [*ATLAS, "digest", "f"], cwd=work, env=home, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ran.returncode == 6
    assert "No space left" in ran.stderr


def test_ctrl_c_in_the_middle_of_measuring_exits_with_130_and_without_a_traceback(
    work: Path, home: dict[str, str]
) -> None:
    with (work / "huge").open("wb") as sparse:
        sparse.truncate(200 << 30)
    process = subprocess.Popen(
        [*ATLAS, "digest", "huge"], cwd=work, env=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - a background job ignores it
    )  # fmt: skip
    time.sleep(1.5)
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - began < 5
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert "interrupted" in err


def test_progress_is_shown_on_a_terminal_only_and_wiped_away(work: Path, home: dict[str, str], atlas: Command) -> None:
    with (work / "large").open("wb") as sparse:
        sparse.truncate(1 << 30)
    code, shown = on_a_terminal([*ATLAS, "digest", "--flat", "large"], work, {**home, "TERM": "xterm"})
    assert code == 0
    assert "%" in shown
    assert shown.rpartition("\x1b[K")[2].strip().endswith("large")
    assert atlas("digest", "--flat", "large").stderr == ""


def test_an_ascii_terminal_does_not_turn_a_name_into_a_crash(atlas: Command, work: Path) -> None:
    (work / "漢字.pt").write_bytes(b"x")
    ran = atlas("digest", "漢字.pt", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert ran.returncode == 0
    assert "\\u6f22\\u5b57.pt" in ran.stdout


def test_a_hostile_file_name_is_escaped_in_results_and_errors(atlas: Command, work: Path) -> None:
    name = "m\x1b[31m\u202e\n::error::x.pt"
    (work / name).write_bytes(b"x")
    for ran in (atlas("digest", name), atlas("digest", name + "missing"), atlas("find", name)):
        assert "\x1b" not in ran.stdout + ran.stderr
        assert "\u202e" not in ran.stdout + ran.stderr
        assert not any(line.lstrip().startswith("::") for line in (ran.stdout + ran.stderr).splitlines())


def test_an_error_of_atlas_itself_is_neither_valid_nor_invalid(work: Path, home: dict[str, str]) -> None:
    (work / "sitecustomize.py").write_text("import atlas.cli.digest as d\nd.run = lambda *a: 1 / 0\n")
    (work / "f").write_bytes(b"x")
    ran = subprocess.run(
        [*ATLAS, "digest", "f"],
        cwd=work,
        env={**home, "PYTHONPATH": f"{work}:{home['PYTHONPATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 6
    assert "an error in Atlas itself: ZeroDivisionError" in ran.stderr
    assert "Traceback" not in ran.stderr


# ------------------------------------------------------------------------------------------------- completion


def bash(script: str, *words: str) -> list[str]:
    """What completion offers for the last of these words, in a real bash."""
    ask = 'eval "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _atlas; printf "%s\\n" "${COMPREPLY[@]}"'
    ran = subprocess.run(["bash", "-c", ask, "bash", script, *words], capture_output=True, text=True, check=True)
    return ran.stdout.split()


def test_completion_works_in_a_real_bash(atlas: Command) -> None:
    script = atlas("completion", "bash").stdout
    assert bash(script, "atlas", "ver") == ["verify"]
    assert bash(script, "atlas", "") == [*VERBS, "--help", "--version"]
    assert bash(script, "atlas", "verify", "--tr") == ["--trust", "--tree"]
    assert bash(script, "atlas", "digest", "--alg", "") == ["sha256", "sha384", "sha512"]
    assert bash(script, "atlas", "digest", "--alg", "sha5") == ["sha512"]
    assert bash(script, "atlas", "completion", "z") == ["zsh"]
    assert bash(script, "atlas", "log", "pe") == ["pending"]
    assert bash(script, "atlas", "log", "add", "--l") == ["--log", "--log-policy"]
    assert bash(script, "atlas", "log", "verify", "") == []
    assert bash(script, "atlas", "attest", "collect", "--provider", "t") == ["tsm", "tpm"]
    assert bash(script, "atlas", "attest", "enroll", "issue", "--y") == ["--years"]
    assert bash(script, "atlas", "sign", "model.pt", "--role", "") == []


def test_a_tab_in_an_interactive_bash_completes_verb_option_and_file(
    atlas: Command, work: Path, home: dict[str, str]
) -> None:
    (work / "completion.bash").write_text(atlas("completion", "bash").stdout)
    (work / "model-of-the-day.pt").write_bytes(b"x")
    keys = "source completion.bash\natlas dige\t--fl\tmodel-o\t\x01echo typed: \nexit\n"
    bash_alone = ["bash", "--norc", "--noprofile", "-i"]
    _, shown = on_a_terminal(bash_alone, work, {**home, "TERM": "dumb", "PS1": "$ "}, keys=keys)
    assert "\ntyped: atlas digest --flat model-of-the-day.pt" in shown.replace("\r", "")


@pytest.mark.parametrize(("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "-n")])
def test_every_completion_script_is_well_formed(atlas: Command, work: Path, shell: str, check: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    (work / "script").write_text(atlas("completion", shell).stdout)
    subprocess.run([shell, check, "script"], cwd=work, check=True)


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_completion_works_in_a_real_fish(atlas: Command, work: Path) -> None:
    (work / "script").write_text(atlas("completion", "fish").stdout)

    def complete(line: str) -> list[str]:
        ask = ["fish", "--no-config", "-c", f"source script; complete -C '{line}'"]
        ran = subprocess.run(ask, cwd=work, capture_output=True, text=True, check=True)
        return [row.split("\t")[0] for row in ran.stdout.splitlines()]

    assert complete("atlas ver") == ["verify"]
    assert complete("atlas digest --alg ") == ["sha256", "sha384", "sha512"]
    assert complete("atlas log pe") == ["pending"]
    assert complete("atlas log add --log") == ["--log", "--log-policy"]
    assert complete("atlas log verify --tree") == []
    assert complete("atlas attest enroll issue --y") == ["--years"]
