"""Puts the end of a real case study into README.md:  make demo | tee /dev/stderr | python docs/readme_output.py"""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCK = re.compile(r"(<!-- output of make demo.*?-->\n```text\n).*?(```\n<!-- end of output -->)", re.DOTALL)


def screen(log: str) -> str:
    """From the evaluation to the first refusal; the indentation that the case study adds is taken off."""
    start = log.index("  $ python evaluate.py")
    end = log.index("(exit code 1)", start) + len("(exit code 1)\n")
    return re.sub(r"^  ", "", log[start:end], flags=re.MULTILINE)


def shown() -> str:
    """What README.md shows now."""
    match = BLOCK.search(README.read_text("utf-8"))
    assert match is not None, "README.md has lost its markers"
    return match[0].removeprefix(match[1]).removesuffix(match[2])


if __name__ == "__main__":
    text = screen(sys.stdin.read())
    README.write_text(BLOCK.sub(lambda m: m[1] + text + m[2], README.read_text("utf-8")), "utf-8")
