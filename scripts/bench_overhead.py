"""What NTHR adds to verl's old-log-prob pass, and what a second forward pass for the same scores adds.

A random model of a true shape in verl's own FSDP2 engine, one process. Three ways run in turns: verl's pass; the pass
with all that NTHR adds to a step; verl's pass and a second forward for the same scores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks import report
from benchmarks.batch import Batch, make_batch
from benchmarks.engine import DTYPES, attention, build_engine, check_device, one_process
from benchmarks.errors import BenchmarkError
from benchmarks.extra_forward import plain_and_extra_forward
from benchmarks.memory import MEASURED_BY, Profile, profiled
from benchmarks.passes import NTHRStep, Pass
from benchmarks.shapes import SHAPES, Shape
from benchmarks.timing import interleaved, ratios, spread
from verl_nthr.arguments import positive_int
from verl_nthr.integration.config.options import CHOICES

NAMES = {"plain": "verl's pass", "nthr": "with NTHR", "extra_forward": "with an extra forward"}
RANGES = ("nthr.vocabulary", "nthr.capture", "nthr.direction", "nthr.scores", "nthr.reduction")
ON_CPU = {"groups": 2, "rollouts": 8, "response": 128, "prompt": 32, "max_token_len": 1024, "dtype": "float32"}
ON_CUDA = {"groups": 32, "rollouts": 8, "response": 2048, "prompt": 256, "max_token_len": 16384, "dtype": "bfloat16"}
AGREEMENT = {"float32": 1e-4, "bfloat16": 2e-2}
"""Largest difference of the two ways' scores, as a part of the largest score."""


def main() -> int:
    """Run the benchmark; 0 if everything went well, else 1 with the reason on standard error."""
    args = make_parser().parse_args()
    for name, value in (ON_CPU if args.device == "cpu" else ON_CUDA).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return report.run("bench_overhead", measure, args)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    both = {name: f"on the CPU {ON_CPU[name]}, on cuda {ON_CUDA[name]}" for name in ON_CPU}
    parser.add_argument("--shape", choices=SHAPES, default="qwen2.5-0.5b", help="of the model (%(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(%(default)s)")
    parser.add_argument("--dtype", choices=tuple(DTYPES), help=f"of the forward pass ({both['dtype']})")
    parser.add_argument("--groups", type=positive_int, metavar="N", help=f"prompts, all mixed ({both['groups']})")
    parser.add_argument("--rollouts", type=positive_int, metavar="N", help=f"responses a prompt ({both['rollouts']})")
    parser.add_argument(
        "--response", type=positive_int, metavar="N", help=f"tokens of the longest response ({both['response']})"
    )
    parser.add_argument(
        "--prompt", type=positive_int, metavar="N", help=f"tokens of the longest prompt ({both['prompt']})"
    )
    parser.add_argument(
        "--max-token-len", type=positive_int, metavar="N", help=f"tokens of a micro-batch ({both['max_token_len']})"
    )
    parser.add_argument(
        "--feature-device",
        choices=CHOICES["feature_device"],
        default="auto",
        help="algorithm.nthr.feature_device (%(default)s)",
    )
    parser.add_argument("--rounds", type=positive_int, default=3, metavar="N", help="of measuring (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    return parser


def measure(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run all three ways, print the tables, and return the result."""
    device, shape = check_device(args.device), SHAPES[args.shape]
    batch = checked_batch(args, shape)
    environment = report.environment(args, device)
    report.print_environment(environment, console)
    with one_process(device):
        scoring = Pass(build_engine(shape, device, args.dtype), batch, args.max_token_len)
        step = NTHRStep(scoring, {"feature_device": args.feature_device})
        added: list[tuple[float, float]] = []

        def with_nthr() -> torch.Tensor:
            scores = step.run()
            added.append((step.worker_seconds, step.driver_seconds))
            return scores

        ways = {"plain": scoring.plain, "nthr": with_nthr, "extra_forward": lambda: plain_and_extra_forward(scoring)}
        first = {name: way() for name, way in ways.items()}
        difference = disagreement(first["nthr"], first["extra_forward"])
        if difference > AGREEMENT[args.dtype]:
            raise BenchmarkError(
                f"the scores of the two ways differ by {difference:.1e} of the largest, more than "
                f"{AGREEMENT[args.dtype]:.0e}: one of the ways is wrong"
            )
        added.clear()
        seconds = interleaved(ways, args.rounds, device)
        worker, driver = (list(values) for values in zip(*added, strict=True))
        profiles = {name: profiled(way, device, RANGES if name == "nthr" else ()) for name, way in ways.items()}
        weights = sum(parameter.nbytes for parameter in scoring.engine.module.parameters())
    result = environment | summary(args, shape, batch, seconds, worker, driver, profiles, weights, difference)
    print_result(result, console)
    return result


def checked_batch(args: argparse.Namespace, shape: Shape) -> Batch:
    """The batch of the options.

    Raises:
        BenchmarkError: a group cannot be mixed, or a sequence does not fit.
    """
    if args.rollouts < 2:
        raise BenchmarkError(f"--rollouts {args.rollouts}: a mixed group has at least 2")
    longest = args.prompt + args.response
    if longest > shape.positions:
        raise BenchmarkError(
            f"--prompt {args.prompt} and --response {args.response} make {longest} tokens, but {args.shape} has "
            f"{shape.positions} positions"
        )
    if longest > args.max_token_len:
        raise BenchmarkError(
            f"--max-token-len {args.max_token_len} is below the {longest} tokens of --prompt and --response; raise it"
        )
    return make_batch(args.groups, args.rollouts, args.response, args.prompt, shape.vocabulary)


def disagreement(scores: torch.Tensor, others: torch.Tensor) -> float:
    """Largest difference of scores [B, response length], jagged, as a part of the largest score."""
    found, expected = scores.values().cpu(), others.values()
    return float((found - expected).abs().max() / expected.abs().max())


def summary(
    args: argparse.Namespace,
    shape: Shape,
    batch: Batch,
    seconds: dict[str, list[float]],
    worker: list[float],
    driver: list[float],
    profiles: dict[str, Profile],
    weights: int,
    difference: float,
) -> dict[str, Any]:
    """What the JSON file holds beside the environment."""
    nthr = ratios(seconds["nthr"], seconds["plain"])
    extra = ratios(seconds["extra_forward"], seconds["nthr"])
    peaks = {name: weights + profile.peak_memory for name, profile in profiles.items()}
    own_clock = [(a + b) / plain for a, b, plain in zip(worker, driver, seconds["plain"], strict=True)]
    return {
        "attention": attention(torch.device(args.device)),
        "hidden": shape.hidden,
        "vocabulary": shape.vocabulary,
        "tokens": batch.tokens,
        "response_tokens": batch.response_tokens,
        "entries_per_group": batch.entries_per_group(),
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "worker_seconds": spread(worker),
        "driver_seconds": spread(driver),
        "ratio_nthr": statistics.median(nthr),
        "ratio_nthr_rounds": nthr,
        "ratio_nthr_own_clock": 1 + statistics.median(own_clock),
        "ratio_extra_forward": statistics.median(extra),
        "ratio_extra_forward_rounds": extra,
        "weights_memory": weights,
        "peak_memory": peaks,
        "peak_memory_ratio": peaks["nthr"] / peaks["plain"],
        "peak_memory_by": f"weights and {MEASURED_BY[args.device]}",
        "profile": profiles["nthr"].ranges,
        "largest_difference_of_scores": difference,
    }


def print_result(result: dict[str, Any], console: Console) -> None:
    """The tables of a result."""
    arguments = result["arguments"]
    plain = result["seconds"]["plain"]["median"]
    rows = [
        [
            NAMES[name],
            f"{found['median']:.3f}",
            f"{found['min']:.3f} – {found['max']:.3f}",
            f"{found['median'] / plain:.3f}",
            report.size(result["peak_memory"][name]),
        ]
        for name, found in result["seconds"].items()
    ]
    title = (
        f"{arguments['shape']}, {arguments['dtype']}: {arguments['groups']} × {arguments['rollouts']} responses, "
        f"{result['tokens']} tokens ({result['response_tokens']} of responses, |V*| {result['entries_per_group']:.0f})"
    )
    report.print_table(title, ["", "seconds", "lowest – highest", "to verl's", "peak memory"], rows, console)
    parts = [
        [name, f"{1e3 * found['host_seconds']:.1f}", f"{1e3 * found['device_seconds']:.1f}", str(found["calls"])]
        for name, found in result["profile"].items()
    ]
    for name in ("worker", "driver"):
        parts.append([f"{name}, by its own clock", f"{1e3 * result[f'{name}_seconds']['median']:.1f}", "", ""])
    report.print_table("Where NTHR's time goes", ["", "host ms", "device ms", "calls"], parts, console)
    console.print(
        f"NTHR / verl's pass: {_with_rounds(result, 'ratio_nthr')}, by NTHR's own clock "
        f"{result['ratio_nthr_own_clock']:.4f}; extra forward / NTHR: "
        f"{_with_rounds(result, 'ratio_extra_forward')}; peak memory with NTHR / without: "
        f"{result['peak_memory_ratio']:.3f}. The two ways' scores differ by at most "
        f"{result['largest_difference_of_scores']:.0e} of the largest.",
        highlight=False,
    )


def _with_rounds(result: dict[str, Any], name: str) -> str:
    values = result[f"{name}_rounds"]
    return f"{result[name]:.4f} ({min(values):.4f} – {max(values):.4f})"


if __name__ == "__main__":
    sys.exit(main())
