"""The pages of the site."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def read(name: str) -> str:
    """A page below docs, or a file beside it as "../CONTRIBUTING.md"."""
    return (DOCS / name).read_text(encoding="utf-8")


def commands(name: str) -> list[str]:
    """The commands of a page's ``bash`` blocks that are not said to be run by no test.

    Without comments, lines that end in a backslash joined.
    """
    blocks = re.findall(r"^```bash\n(.*?)^```", read(name), flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines = [line for line in lines if "not run by a test" not in line]
    found = [re.sub(r"\s+#.*$", "", line).strip() for line in lines]
    return [" ".join(line.split()) for line in found if line and not line.startswith("#")]
