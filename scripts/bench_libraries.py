"""What library functions would do for parts of the scoring: each beside plain torch, on the same ragged groups.

Products of each group's tokens with its own output rows, sums of outer products, the softmax of the prediction errors,
and log Z. Every candidate must give what plain torch gives.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from benchmarks import report
from benchmarks.engine import check_device
from benchmarks.errors import BenchmarkError
from benchmarks.timing import interleaved, spread
from verl_nthr.arguments import positive_int

TOLERANCE = 1e-4
"""Largest difference of a candidate's result, as a part of the largest value."""


@dataclass(frozen=True)
class Sizes:
    """Of the groups; a group's tokens are ragged, from a half to all of ``tokens``."""

    groups: int = 16
    tokens: int = 512
    entries: int = 512
    hidden: int = 896
    vocabulary: int = 151936
    log_z_tokens: int = 64


QUICK = Sizes(groups=3, tokens=16, entries=8, hidden=16, vocabulary=64, log_z_tokens=8)


@dataclass(frozen=True)
class Part:
    """One part of the work; the first candidate is plain torch and the reference."""

    name: str
    candidates: dict[str, Callable[[], Tensor]]


def main() -> int:
    """Run the benchmark; 0 if everything went well, else 1 with the reason on standard error."""
    return report.run("bench_libraries", measure, make_parser().parse_args())


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(%(default)s)")
    parser.add_argument("--rounds", type=positive_int, default=5, metavar="N", help="of measuring (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="sizes that show that it runs, and nothing else")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    return parser


@torch.no_grad()
def measure(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Time all candidates in turns, print a table, and return the result."""
    device = check_device(args.device)
    result = report.environment(args, device) | {"parts": {}, "not_run": {}}
    report.print_environment(result, console)
    rows = []
    for part in parts(QUICK if args.quick else Sizes(), device):
        result["not_run"] |= check(part)
        found = {name: spread(values) for name, values in interleaved(part.candidates, args.rounds, device).items()}
        result["parts"][part.name] = found
        plain = next(iter(found.values()))["min"]
        rows += [
            [
                part.name,
                name,
                f"{1e3 * values['min']:.2f}",
                f"{1e3 * values['median']:.2f}",
                f"{values['min'] / plain:.2f}",
            ]
            for name, values in found.items()
        ]
    headings = ["part", "by", "lowest ms", "median ms", "lowest to plain torch"]
    report.print_table("libraries for parts of the scoring", headings, rows, console)
    for name, reason in result["not_run"].items():
        console.print(f"not run: {name}: {reason}", highlight=False)
    return result


def check(part: Part) -> dict[str, str]:
    """Run every candidate once, and leave out those that the device or its torch lacks; what they said, by name.

    Raises:
        BenchmarkError: one gives something else than plain torch.
    """
    expected: Tensor | None = None
    lacking = {}
    for name, candidate in list(part.candidates.items()):
        try:
            found = candidate()
        except RuntimeError as error:
            if expected is None:
                raise
            lacking[f"{part.name} by {name}"] = str(error)
            del part.candidates[name]
            continue
        expected = found if expected is None else expected
        error = float((found - expected).abs().max() / expected.abs().max())
        if error > TOLERANCE:
            raise BenchmarkError(f"{part.name} by {name} differs from plain torch by {error:.1e} of the largest value")
    return lacking


def parts(sizes: Sizes, device: torch.device) -> list[Part]:
    """All parts, on inputs drawn from one seed."""
    rng = torch.Generator(device).manual_seed(0)
    counts = torch.linspace(sizes.tokens // 2, sizes.tokens, sizes.groups).int().tolist()
    ends = torch.tensor(counts, device=device).cumsum(0).int()
    hidden = torch.randn(sum(counts), sizes.hidden, generator=rng, device=device)
    weights = torch.randn(sizes.groups, sizes.entries, sizes.hidden, generator=rng, device=device) / sizes.hidden**0.5
    errors = torch.rand(sum(counts), sizes.entries, generator=rng, device=device)
    log_normalizer = torch.full((sum(counts), 1), 7.0, device=device)
    inverse_temperature = torch.full_like(log_normalizer, 1 / 0.7)
    of_groups, errors_of_groups = hidden.split(counts), errors.split(counts)
    kept = pad_sequence([torch.ones(count, dtype=torch.bool, device=device) for count in counts], batch_first=True)

    def padded(tensors: tuple[Tensor, ...]) -> Tensor:
        return pad_sequence(list(tensors), batch_first=True)

    def softmax(logits: Tensor, log_normalizer: Tensor, inverse_temperature: Tensor) -> Tensor:
        return (logits * inverse_temperature - log_normalizer).exp()

    unembedding = torch.randn(sizes.vocabulary, sizes.hidden, generator=rng, device=device) / sizes.hidden**0.5
    some = hidden[: sizes.log_z_tokens]
    labels = torch.randint(sizes.vocabulary, (len(some),), generator=rng, device=device)

    def cross_entropy_and_label() -> Tensor:
        losses = F.linear_cross_entropy(some, unembedding, labels, reduction="none")
        return losses + torch.linalg.vecdot(some, unembedding[labels])

    products: dict[str, Callable[[], Tensor]] = {
        "mm, group by group": lambda: torch.cat([h @ w.T for h, w in zip(of_groups, weights, strict=True)]),
        "bmm, padded": lambda: torch.bmm(padded(of_groups), weights.mT)[kept],
    }
    outer: dict[str, Callable[[], Tensor]] = {
        "mm, group by group": lambda: torch.stack([e.T @ h for e, h in zip(errors_of_groups, of_groups, strict=True)]),
        "bmm, padded": lambda: torch.bmm(padded(errors_of_groups).mT, padded(of_groups)),
    }
    log_z: dict[str, Callable[[], Tensor]] = {"logsumexp": lambda: torch.logsumexp(some @ unembedding.T, dim=-1)}
    elementwise: dict[str, Callable[[], Tensor]] = {
        "addcmul and exp_": lambda: torch.addcmul(-log_normalizer, errors, inverse_temperature).exp_()
    }
    if shutil.which(os.environ.get("CXX", "g++")):
        compiled = torch.compile(softmax, dynamic=True)
        elementwise["torch.compile"] = lambda: compiled(errors, log_normalizer, inverse_temperature)
    if hasattr(F, "grouped_mm"):
        products["grouped_mm"] = lambda: F.grouped_mm(hidden, weights.mT, offs=ends)
        outer["grouped_mm"] = lambda: F.grouped_mm(errors.T, hidden, offs=ends)
    if hasattr(F, "linear_cross_entropy"):
        log_z["linear_cross_entropy"] = cross_entropy_and_label
    return [
        Part("h Wᵀ of each group", products),
        Part("Σ g hᵀ of each group", outer),
        Part("exp(logits/T − log Z)", elementwise),
        Part(f"log Z of {len(some)} tokens", log_z),
    ]


if __name__ == "__main__":
    sys.exit(main())
