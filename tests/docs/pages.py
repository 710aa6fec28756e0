"""The pages of the site."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")])

NOT_RUN = "not run by a test"
PROGRAM = re.compile(r"(?:[A-Z_]+=\S+ )*(?:\S*/)?(?:bash|python|verl-nthr|sbatch)\s")


def read(name: str) -> str:
    """A page below docs, or a file beside it as "../CONTRIBUTING.md"."""
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(page: str) -> list[str]:
    """The ``bash`` blocks of a page's text, without the commands that are said to be run by no test."""
    found = re.findall(r"^```bash\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    whole = (block.replace("\\\n", " ").splitlines() for block in found)
    return ["\n".join(line for line in lines if NOT_RUN not in line) for lines in whole]


def inline(page: str) -> list[str]:
    """The commands in a page's sentences and tables; with … for a part of it, it is a pattern and no command."""
    text = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in text.splitlines() if NOT_RUN not in line]
    return [
        code for line in lines for code in re.findall(r"`([^`]+)`", line) if PROGRAM.match(code) and "…" not in code
    ]
