"""The support matrix of docs/reference/support.md, from the marks of the tests.

``@pytest.mark.covers(rows)`` says what a test shows to work, ``@pytest.mark.refuses(rows)`` what it shows to be refused
with a message; a row reads "section: what". ``python -m tests.support`` writes the matrix into the page, ``--check``
says whether it is there already.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "support.md"
BEGIN, END = "<!-- python -m tests.support -->", "<!-- end -->"
SUITES = {"slow": "-m slow", "distributed": "-m distributed", "": "default"}
"""How each tier's marker is named in the matrix; a test without one of the markers is in the default one."""

SECTIONS = ("FSDP", "Megatron", "trainer", "training")

NOT_RUN = {
    "FSDP": ("GPUs", "flash attention", "fused kernels (Triton)", "several nodes"),
    "Megatron": ("GPUs", "Transformer Engine", "mixtures of experts", "several nodes"),
    "trainer": (),
    "training": ("models with images",),
}
"""By section, what no test of any suite can show on a CPU."""


class Collector:
    """Reads the marks of all tests, whatever is selected."""

    def __init__(self) -> None:
        self.covered: dict[str, set[str]] = defaultdict(set)
        self.refused: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if item.get_closest_marker("gpu"):
                continue  # skipped where there is none: no proof
            suite = next((name for name in SUITES if name and item.get_closest_marker(name)), "")
            for mark in item.iter_markers("covers"):
                for row in mark.args:
                    self.covered[row].add(suite)
            for mark in item.iter_markers("refuses"):
                self.refused.update(mark.args)


def matrix(covered: dict[str, set[str]], refused: set[str]) -> str:
    """The matrix in Markdown, a row for every section.

    Args:
        covered: the suites that cover each row.
        refused: rows.

    Raises:
        ValueError: a row is of no section, or is said to be covered and not to be, or refused, at once.
    """
    not_run = {f"{section}: {what}" for section, rows in NOT_RUN.items() for what in rows}
    for name, rows in (("refused", refused), ("not run", not_run)):
        if both := sorted(rows & covered.keys()):
            raise ValueError(f"covered by a test and {name}: {', '.join(both)}")
    if homeless := sorted(row for row in covered.keys() | refused if row.split(": ")[0] not in SECTIONS):
        raise ValueError(f"of none of the sections {', '.join(SECTIONS)}: {', '.join(homeless)}")
    lines = ["| | shown by the default tests | by other tiers | refused | not run |", "|---|---|---|---|---|"]
    for section in SECTIONS:
        own = {row: suites for row, suites in covered.items() if row.split(": ")[0] == section}
        cells = (
            [row for row, suites in own.items() if "" in suites],
            [row for row, suites in own.items() if "" not in suites],
            refused & {row for row in refused if row.split(": ")[0] == section},
            [f"{section}: {what}" for what in NOT_RUN[section]],
        )
        listed = ["; ".join(sorted((row.split(": ", 1)[1] for row in cell), key=str.lower)) for cell in cells]
        lines.append(f"| {section} | {' | '.join(listed)} |")
    return "\n".join(lines)


def main() -> int:
    """Write or check the matrix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if the page is out of date")
    args = parser.parse_args()
    collector = Collector()
    code = pytest.main(["--collect-only", "-qq", "--no-header", str(ROOT / "tests")], plugins=[collector])
    if code != pytest.ExitCode.OK:
        return int(code)
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    updated = f"{before}{BEGIN}\n{matrix(collector.covered, collector.refused)}\n{END}{rest.split(END, 1)[1]}"
    if args.check and updated != page:
        print("docs/reference/support.md is not what the tests show; run `python -m tests.support`", file=sys.stderr)
        return 1
    if not args.check:
        PAGE.write_text(updated, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
