"""How the cost of scoring grows: with groups, rollouts, response length, |V*|, hidden size and ranks.

Times the scoring of random features and fits a power law to each row of sizes: linear in tokens is an exponent of 1.
On several ranks it counts the bytes that a step gives to collectives.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console

from benchmarks import report
from benchmarks.measuring import counted_collectives, interleaved, on_ranks, power_law, timed
from benchmarks.scoring import Scoring


@dataclass(frozen=True)
class Size:
    """How large a batch is; all responses have one length, and half of each group are correct."""

    groups: int = 8
    rollouts: int = 8
    response: int = 128

    entries: int = 256
    """|V*| of every group."""

    hidden: int = 256
    """D, size of a hidden state."""

    @property
    def tokens(self) -> int:
        return self.groups * self.rollouts * self.response


SWEEPS: dict[str, tuple[Size, tuple[int, ...]]] = {
    "groups": (Size(), (8, 32, 128, 512)),
    "rollouts": (Size(), (4, 8, 16, 32, 64)),
    "response": (Size(groups=2), (128, 512, 2048, 16384)),
    "entries": (Size(groups=4), (128, 256, 512, 1024)),
    "hidden": (Size(groups=4), (256, 512, 1024, 2048, 3584)),
}
"""By the field of :class:`Size` that is varied: the other sizes, and its values."""
RANKS, SIZE_ON_RANKS = (1, 2, 4), Size(entries=512)

SMALL = Size(groups=2, rollouts=4, response=16, entries=16, hidden=32)
QUICK_SWEEPS = {varied: (SMALL, (16, 32, 64)) for varied in SWEEPS}


def main() -> int:
    """Run the benchmark; 0 if everything went well, else 1 with the reason on standard error."""
    parser = report.make_parser(__doc__, rounds=3)
    parser.add_argument("--quick", action="store_true", help="small sizes, which only show that it runs")
    return report.run(measure, parser.parse_args())


def measure(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run all sweeps, print a table for each, and return the result."""
    sweeps = []
    for varied, (base, values) in (QUICK_SWEEPS if args.quick else SWEEPS).items():
        sizes = [replace(base, **{varied: value}) for value in values]
        sweeps.append({"varied": varied} | run_sweep(varied, sizes, args.rounds, args.device))
        print_sweep(sweeps[-1], console)
    size = SMALL if args.quick else SIZE_ON_RANKS
    ranks = [measure_ranks(size, number, args.rounds) for number in (RANKS[:2] if args.quick else RANKS)]
    rows = [
        [found["ranks"], f"{found['all_reduce']:,} B", f"{found['all_gather']:,} B", f"{found['seconds']:.4f}"]
        for found in ranks
    ]
    title = f"a step on several CPU ranks, {size.tokens:,} tokens: bytes that a rank gives to collectives"
    report.print_table(title, ["ranks", "summed", "gathered", "seconds"], rows, console)
    return {"sweeps": sweeps, "ranks": ranks}


@torch.no_grad()
def run_sweep(varied: str, sizes: list[Size], rounds: int, device: str) -> dict[str, Any]:
    """The lowest time of each size, measured in turns, and the power law through them."""
    inputs = [make_input(size, device) for size in sizes]
    actions = {str(place): found.scores for place, found in enumerate(inputs)}
    interleaved(actions, 1, device)  # warm-up
    lowest = [min(values) for values in interleaved(actions, rounds, device).values()]
    exponent, error = power_law([getattr(size, varied) for size in sizes], lowest)
    points = [
        asdict(size)
        | {"tokens": size.tokens, "seconds": seconds, "microseconds_per_token": 1e6 * seconds / size.tokens}
        for size, seconds in zip(sizes, lowest, strict=True)
    ]
    return {"exponent": exponent, "exponent_error": error, "points": points}


def print_sweep(sweep: dict[str, Any], console: Console) -> None:
    """One row per size, and the fit in the title."""
    varied = sweep["varied"]
    rows = [
        [point[varied], f"{point['tokens']:,}", f"{point['seconds']:.4f}", f"{point['microseconds_per_token']:.2f}"]
        for point in sweep["points"]
    ]
    title = f"seconds ∝ {varied}^({sweep['exponent']:.2f} ± {sweep['exponent_error']:.2f})"
    report.print_table(title, [varied, "tokens", "seconds", "µs per token"], rows, console)


def make_input(size: Size, device: str, seed: int = 0) -> Scoring:
    """Random features; every group uses ``size.entries`` token ids of its own, or as many as it has tokens."""
    rng = torch.Generator(device).manual_seed(seed)
    vocabulary, per_group = 4 * size.entries, size.rollouts * size.response
    pools = torch.rand(size.groups, vocabulary, generator=rng, device=device).argsort(dim=1)[:, : size.entries]
    rows = torch.arange(size.groups * size.rollouts, device=device)
    return Scoring(
        hidden=torch.randn(size.tokens, size.hidden, generator=rng, device=device),
        token_ids=pools[:, torch.arange(per_group, device=device) % size.entries].flatten(),
        log_probs=-torch.rand(size.tokens, generator=rng, device=device),
        log_normalizer=torch.full((size.tokens,), 1.0 + float(torch.tensor(vocabulary).log()), device=device),
        response=rows.repeat_interleave(size.response),
        group=rows // size.rollouts,
        correct=rows % 2 == 0,
        unembedding=torch.randn(vocabulary, size.hidden, generator=rng, device=device) / size.hidden**0.5,
    )


def measure_ranks(size: Size, ranks: int, rounds: int) -> dict[str, Any]:
    """A step whose groups are all spread over ``ranks`` processes of one thread each.

    Returns:
        ``ranks``, and of the rank with the most: bytes given to ``all_reduce`` and ``all_gather``, and the lowest
        ``seconds`` of a step.
    """
    results = on_ranks(_measure_rank, ranks, size, ranks, rounds)
    return {"ranks": ranks} | {name: max(result[name] for result in results) for name in results[0]}


def _measure_rank(rank: int, size: Size, ranks: int, rounds: int) -> dict[str, Any]:
    mine = make_input(size, "cpu").part(rank, ranks)

    def step() -> None:
        mine.scores(tokens=dist.group.WORLD)

    with counted_collectives() as traffic:
        step()
    seconds = []
    for _ in range(rounds):
        dist.barrier()
        seconds.append(timed(step, "cpu"))
    return dict(traffic) | {"seconds": min(seconds)}


if __name__ == "__main__":
    sys.exit(main())
