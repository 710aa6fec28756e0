"""How the cost of scoring grows: with groups, rollouts, response length, |V*|, hidden size and ranks.

Times ``influence_scores`` on random features, and the recording of features. A power law is fitted to each row of
sizes: linear in tokens is an exponent of 1. On several ranks it counts what a step hands to collectives.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks import report
from benchmarks.capture import record
from benchmarks.engine import check_device
from benchmarks.fit import power_law
from benchmarks.ranks import measure_ranks
from benchmarks.synthetic import ScoringInput, Size, make_input
from benchmarks.timing import interleaved
from verl_nthr.arguments import positive_int
from verl_nthr.influence.sharding import Sharding


@dataclass(frozen=True)
class Sweep:
    """One size varied, the others fixed."""

    varied: str
    """A field of :class:`Size`."""

    values: tuple[int, ...]
    base: Size

    action: Callable[[ScoringInput], object]
    name: str

    def sizes(self) -> list[Size]:
        return [replace(self.base, **{self.varied: value}) for value in self.values]


def score(found: ScoringInput) -> None:
    """All of a step's scoring in one process."""
    found.score(Sharding())


BASE = Size(groups=8, rollouts=8, response=128, entries=256, hidden=256)
LONG = replace(BASE, groups=2)
WIDE = replace(BASE, groups=4)
SWEEPS = (
    Sweep("groups", (8, 32, 128, 512), BASE, score, "scoring, by groups"),
    Sweep("rollouts", (4, 8, 16, 32, 64), BASE, score, "scoring, by rollouts"),
    Sweep("response", (128, 512, 2048, 16384), LONG, score, "scoring, by response length"),
    Sweep("entries", (128, 256, 512, 1024), WIDE, score, "scoring, by |V*|"),
    Sweep("hidden", (256, 512, 1024, 2048, 3584), WIDE, score, "scoring, by hidden size"),
    Sweep("response", (128, 512, 2048, 16384), LONG, record, "recording, by response length"),
)
QUICK_BASE = Size(groups=2, rollouts=4, response=16, entries=16, hidden=32)
QUICK_SWEEPS = tuple(replace(sweep, base=QUICK_BASE, values=(16, 32, 64)) for sweep in SWEEPS)
RANKS, QUICK_RANKS = (1, 2, 4), (1, 2)
RANKS_SIZE = replace(BASE, entries=512)


def main() -> int:
    """Run the benchmark; 0 if everything went well, else 1 with the reason on standard error."""
    return report.run("bench_scaling", measure, make_parser().parse_args())


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(%(default)s); ranks are on the CPU")
    parser.add_argument("--rounds", type=positive_int, default=3, metavar="N", help="of measuring (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="sizes that show that it runs, and nothing else")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    return parser


def measure(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run all sweeps, print a table for each, and return the result."""
    device = check_device(args.device)
    result = report.environment(args, device) | {"sweeps": [], "ranks": []}
    report.print_environment(result, console)
    for sweep in QUICK_SWEEPS if args.quick else SWEEPS:
        result["sweeps"].append(run_sweep(sweep, args.rounds, device))
        print_sweep(result["sweeps"][-1], console)
    size = QUICK_BASE if args.quick else RANKS_SIZE
    for ranks in QUICK_RANKS if args.quick else RANKS:
        result["ranks"].append({"ranks": ranks, "size": asdict(size)} | measure_ranks(size, ranks, args.rounds))
    print_ranks(result["ranks"], console)
    return result


@torch.no_grad()
def run_sweep(sweep: Sweep, rounds: int, device: torch.device) -> dict[str, Any]:
    """The lowest time of each size, measured in turns, and the power law through them."""
    sizes = sweep.sizes()
    inputs = {str(value): make_input(size, device) for value, size in zip(sweep.values, sizes, strict=True)}
    actions = {name: (lambda found=found: sweep.action(found)) for name, found in inputs.items()}
    for action in actions.values():
        action()
    lowest = [min(values) for values in interleaved(actions, rounds, device).values()]
    law = power_law(sweep.values, lowest)
    return {
        "name": sweep.name,
        "varied": sweep.varied,
        "exponent": law.exponent,
        "exponent_error": law.error,
        "points": [
            asdict(size)
            | {"tokens": size.tokens, "seconds": seconds, "microseconds_per_token": 1e6 * seconds / size.tokens}
            for size, seconds in zip(sizes, lowest, strict=True)
        ],
    }


def print_sweep(sweep: dict[str, Any], console: Console) -> None:
    """A table with a row for each size, and the fit in its title."""
    error = "" if sweep["exponent_error"] is None else f" ± {sweep['exponent_error']:.2f}"
    title = f"{sweep['name']}: seconds ∝ {sweep['varied']}^({sweep['exponent']:.2f}{error})"
    rows = [
        [
            str(point[sweep["varied"]]),
            f"{point['tokens']:,}",
            f"{point['seconds']:.4f}",
            f"{point['microseconds_per_token']:.2f}",
        ]
        for point in sweep["points"]
    ]
    report.print_table(title, [sweep["varied"], "tokens", "seconds", "µs a token"], rows, console)


def print_ranks(ranks: list[dict[str, Any]], console: Console) -> None:
    """A table with a row for each number of ranks."""
    rows = [
        [
            str(found["ranks"]),
            report.size(found["summed_bytes"]),
            report.size(found["gathered_bytes"]),
            f"{found['seconds']:.4f}",
        ]
        for found in ranks
    ]
    title = "a step on several ranks: bytes of the tensors that a rank gives to collectives"
    report.print_table(title, ["ranks", "to be summed", "to be gathered", "seconds"], rows, console)


if __name__ == "__main__":
    sys.exit(main())
