"""Generated input for the package's ways in, for a time; what is not answered as documented is reported, made small.

A table of the targets, with the cases tried, those refused with a documented error, and the crashes; exit code 1 if
there is a crash.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fuzzing import TARGETS
from fuzzing.runner import Tally, run_target
from verl_nthr.cli.arguments import positive_float, seed


def main() -> int:
    """Fuzz; 0 without a crash, else 1."""
    args = make_parser().parse_args()
    warnings.simplefilter("ignore")
    report = fuzz(args.target or list(TARGETS), args.seconds, args.seed, Console(stderr=True))
    if args.json:
        print(json.dumps(report, allow_nan=False))
    else:
        print_report(report, Console())
    return 1 if report["crashes"] else 0


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=positive_float, default=60.0, metavar="N", help="of all targets (%(default)s)"
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of the cases (%(default)s)")
    parser.add_argument(
        "--target", action="append", choices=TARGETS, metavar="NAME", help=f"one of {', '.join(TARGETS)} (all)"
    )
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    return parser


def fuzz(names: list[str], seconds: float, first_seed: int, console: Console) -> dict[str, Any]:
    """The report: ``seconds``, ``seed``, ``cases``, ``targets`` by name, and ``crashes``."""
    shares = sum(TARGETS[name].share for name in names)
    tallies: dict[str, Tally] = {}
    with console.status("") as status:
        for name in names:
            status.update(f"fuzzing {name}")
            tallies[name] = run_target(TARGETS[name], seconds * TARGETS[name].share / shares, first_seed)
    return {
        "seconds": round(sum(tally.seconds for tally in tallies.values()), 1),
        "seed": first_seed,
        "cases": sum(tally.cases for tally in tallies.values()),
        "targets": {
            name: {
                "cases": tally.cases,
                "rejected": tally.rejected,
                "crashes": len(tally.crashes),
                "seconds": round(tally.seconds, 1),
            }
            for name, tally in tallies.items()
        },
        "crashes": [asdict(crash) for tally in tallies.values() for crash in tally.crashes.values()],
    }


def print_report(report: dict[str, Any], console: Console) -> None:
    """The table, and each crash with its smallest example."""
    table = Table(title=f"{report['cases']:,} cases in {report['seconds']:.0f} s, seed {report['seed']}")
    for heading in ("target", "cases", "refused as documented", "crashes", "seconds"):
        table.add_column(heading, justify="left" if heading == "target" else "right")
    for name, found in report["targets"].items():
        numbers = (f"{found[key]:,}" for key in ("cases", "rejected", "crashes"))
        table.add_row(name, *numbers, f"{found['seconds']:.0f}")
    console.print(table)
    for crash in report["crashes"]:
        console.print(Text(f"\n{crash['target']}: {crash['error']}\n  at {crash['where']}\n  with {crash['example']}"))


if __name__ == "__main__":
    sys.exit(main())
