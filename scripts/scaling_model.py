"""What NTHR costs from one node to many, on paper: prints the table of docs/scaling.md.

The formulas are those of benchmarks/cost.py; the tests hold them beside the operations and bytes that scoring really
takes. The constants of the chip, the share of mixed groups and the size of a group's vocabulary are assumptions.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from benchmarks.cost import Chip, Cost, Run, cost_of
from benchmarks.report import size
from verl_nthr.files import write_whole

RUNS = (
    Run("0.5B on 8", 0.49e9, 896, 8, response=1024),
    Run("7B on 64", 7.6e9, 3584, 64, response=4096),
    Run("70B on 512, TP 8, PP 4", 70e9, 8192, 512, tensor=8, pipeline=4, prompts=1024, response=8192),
    Run(
        "671B-A37B on 1024, TP 8, PP 8",
        37e9,
        7168,
        1024,
        tensor=8,
        pipeline=8,
        prompts=1024,
        rollouts=16,
        response=8192,
    ),
)
BEGIN, END = "<!-- python scripts/scaling_model.py --write -->", "<!-- end -->"
PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"


def table(costs: dict[Run, Cost]) -> str:
    """A Markdown table, a column for every run."""
    rows = {
        "mixed groups × responses × tokens": [f"{r.groups:.0f} × {r.rollouts} × {r.response}" for r in costs],
        "\\|V*\\| of a group": [f"{r.entries:.0f}" for r in costs],
        "ranks that hold disjoint tokens": [str(r.data) for r in costs],
        "verl's old-log-prob pass": [f"{c.pass_seconds:.2f} s" for c in costs.values()],
        "hidden states kept, a rank": [size(c.features) for c in costs.values()],
        "M⁺ of all groups, a rank": [size(c.directions) for c in costs.values()],
        "sent over NVLink, a rank": [size(c.nvlink) for c in costs.values()],
        "sent over the network, a rank": [size(c.network) for c in costs.values()],
        "products": [f"{1e3 * c.products:.0f} ms" for c in costs.values()],
        "element by element": [f"{1e3 * c.elementwise:.0f} ms" for c in costs.values()],
        "reduction": [f"{1e3 * c.reduction:.0f} ms" for c in costs.values()],
        "NTHR, of the pass": [f"**{100 * c.share:.1f} %**" for c in costs.values()],
    }
    lines = ["| | " + " | ".join(run.name for run in costs) + " |", "|---|" + "---:|" * len(costs)]
    return "\n".join([*lines, *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items())])


def main() -> int:
    """Print the table; with options, write it elsewhere too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/scaling.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write runs, chip and costs there")
    args = parser.parse_args()
    chip = Chip()
    costs = {run: cost_of(run, chip) for run in RUNS}
    print(table(costs))
    if args.write:
        page = PAGE.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        write_whole(PAGE, f"{before}{BEGIN}\n{table(costs)}\n{END}{rest.split(END)[1]}".encode())
    if args.json is not None:
        runs = [
            dataclasses.asdict(run) | dataclasses.asdict(cost) | {"share": cost.share} for run, cost in costs.items()
        ]
        write_whole(args.json, json.dumps({"chip": dataclasses.asdict(chip), "runs": runs}, indent=1).encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
