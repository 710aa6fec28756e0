"""Many steps of capture, scoring and weighting in one worker: does anything grow?

Every step passes a new random batch of the demo's shape through verl's own FSDP2 engine around the demo's model, scores
and weighs it as the trainer does, and now and then writes the token dump. After every step the memory of the process is
read, and what else could pile up is counted.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks import report
from benchmarks.errors import BenchmarkError
from benchmarks.ranks import run_on_ranks
from soaking.run import ALLOCATOR, heading, run_soak, verdict
from soaking.state import COUNTS
from verl_nthr.arguments import positive_int

SECONDS_PER_STEP, STARTING_SECONDS = 20.0, 300.0
"""After which a run hangs."""

FEWEST = 3
"""Steps that a slope and its error take."""


def main() -> int:
    """Run the soak; 0 if memory and counts are flat, 1 if something grew or with the reason on standard error."""
    args = make_parser().parse_args()
    grew: list[str] = []

    def benchmark(args: argparse.Namespace, console: Console) -> dict[str, Any]:
        result = measure(args, console)
        grew.extend(result["grew"])
        return result

    return report.run("soak", benchmark, args) or int(bool(grew))


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive_int, default=500, metavar="N", help="(%(default)s)")
    parser.add_argument("--ranks", type=positive_int, default=1, metavar="N", help="gloo processes (%(default)s)")
    parser.add_argument(
        "--dump-every", type=positive_int, default=10, metavar="N", help="steps to a token dump (%(default)s)"
    )
    parser.add_argument(
        "--warm-up", type=positive_int, metavar="N", help="first steps left out of the verdict (a fifth of the steps)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    return parser


def measure(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run, print the tables, and return the result."""
    warm_up = args.warm_up or args.steps // 5
    if args.steps - warm_up < FEWEST:
        raise BenchmarkError(
            f"--steps {args.steps} and --warm-up {warm_up} leave {max(0, args.steps - warm_up)} steps to judge; "
            f"a trend takes at least {FEWEST}"
        )
    environment = report.environment(args, torch.device("cpu"))
    report.print_environment(environment, console)
    os.environ |= ALLOCATOR
    print(heading(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        dump_folder = Path(folder) / "dumps"
        dump_folder.mkdir()
        limit = STARTING_SECONDS + SECONDS_PER_STEP * args.steps
        by_rank = run_on_ranks(run_soak, args.ranks, (args.steps, args.dump_every, folder), limit)
        dumps = sorted(path.name for path in dump_folder.iterdir())
    expected = sorted(f"{step}.jsonl" for step in range(args.dump_every, args.steps + 1, args.dump_every))
    if dumps != expected:
        raise BenchmarkError(f"the folder of the token dumps holds {dumps}, not {expected}")
    verdicts = [verdict(states, warm_up) for states in by_rank]
    for rank, found in enumerate(verdicts):
        print_verdict(rank, found, console)
    grew = [
        f"rank {rank}: {name}"
        for rank, found in enumerate(verdicts)
        for name in ("rss", *COUNTS)
        if not found[name]["flat"]
    ]
    console.print(f"grew: {', '.join(grew)}" if grew else "nothing grew", highlight=False)
    return environment | {
        "warm_up": warm_up,
        "dumps": len(dumps),
        "grew": grew,
        "verdicts": verdicts,
        "states": by_rank,
    }


def print_verdict(rank: int, found: dict[str, Any], console: Console) -> None:
    """The table of one rank."""
    rss, seconds = found["rss"], found["seconds"]
    rows = [
        [
            "resident memory",
            report.size(rss["first"]),
            report.size(rss["last"]),
            f"{rss['slope'] / 1e3:+.2f} ± {rss['error'] / 1e3:.2f} kB a step",
            "flat" if rss["flat"] else "grows",
        ],
        [
            "seconds of a step",
            f"{seconds['mean']:.3f} on average",
            "",
            f"{1e6 * seconds['slope']:+.1f} ± {1e6 * seconds['error']:.1f} µs a step",
            "flat" if seconds["flat"] else "grows",
        ],
    ]
    for name in COUNTS:
        count = found[name]
        largest = f"at most {count['largest']}"
        state = "flat" if count["flat"] else "grows"
        rows.append([name.replace("_", " "), str(count["first"]), str(count["last"]), largest, state])
    report.print_table(f"Rank {rank}, after the warm-up", ["", "first", "last", "trend", ""], rows, console)


if __name__ == "__main__":
    sys.exit(main())
