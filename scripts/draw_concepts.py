"""Draws the pictures of docs/concepts.md into docs/images, and prints the numbers that the page gives."""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

from concepts.example import Example, make_example
from concepts.figures import FIGURES

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"


def numbers(example: Example) -> str:
    """The example's numbers as rows of a Markdown table."""
    decision, changes = example.decision, {name: example.change(a) for name, a in example.advantages().items()}
    rows = {
        "p": f"{float(decision.success_rate):g}",
        "η": f"{float(decision.eta):g}",
        "Â of the correct answer, of a wrong one": f"{example.grpo.max():+.1f}, {example.grpo.min():+.1f}",
        "s̄⁺ = τ": f"{float(decision.threshold):.2f}",
        "tokens of wrong answers, and those eased": f"{int((example.grpo < 0).sum())}, {int(decision.selected.sum())}",
        "change of ln π(correct answer)": ", ".join(f"{name} {change:+.3f}" for name, change in changes.items()),
    }
    return "\n".join(f"| {name} | {value} |" for name, value in rows.items())


def main() -> int:
    """Draw and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder (default: %(default)s)")
    args = parser.parse_args()
    example = make_example()
    with matplotlib.rc_context({"svg.hashsalt": "concepts", "font.family": "DejaVu Sans"}):
        for name, draw in FIGURES.items():
            draw(example).savefig(args.out / name, metadata={"Date": None})
    print(numbers(example))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
