"""Time and memory that NTHR adds to verl's old-log-prob pass, and that a second forward pass adds.

A random model of a true shape runs in verl's own FSDP2 engine, in one process. Three ways run in turns: verl's pass;
the pass with all that NTHR adds to a step; verl's pass and a second forward for the same scores.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from rich.console import Console
from torch import Tensor

from benchmarks import report
from benchmarks.engine import DTYPES, SHAPES, Shape, attention, build_engine, one_process
from benchmarks.extra_forward import plain_and_extra_forward
from benchmarks.measuring import interleaved, profiled, spread
from benchmarks.step import Batch, NTHRStep, make_batch, plain_pass
from verl_nthr.arguments import positive_int
from verl_nthr.integration.config.options import CHOICES

NAMES = {"plain": "verl's pass", "nthr": "with NTHR", "extra_forward": "with an extra forward"}
SIZES = {
    "dtype": ("of the forward pass", "float32", "bfloat16"),
    "groups": ("prompts, all mixed", 2, 32),
    "rollouts": ("responses per prompt", 8, 8),
    "response": ("tokens of the longest response", 128, 2048),
    "prompt": ("tokens of the longest prompt", 32, 256),
    "max_token_len": ("tokens of a micro-batch", 1024, 16384),
}
"""By option, its meaning and its default on the CPU and on cuda."""
AGREEMENT = {"float32": 1e-4, "bfloat16": 2e-2}
"""Largest difference between the two ways' scores, as a part of the largest score."""


def main() -> int:
    """Run the benchmark; 0 if everything went well, else 1 with the reason on standard error."""
    parser = report.make_parser(__doc__, rounds=3)
    parser.add_argument("--shape", choices=SHAPES, default="qwen2.5-0.5b", help="of the model (%(default)s)")
    for name, (meaning, on_cpu, on_cuda) in SIZES.items():
        kind: dict[str, Any] = {"choices": DTYPES} if name == "dtype" else {"type": positive_int, "metavar": "N"}
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, **kind, help=f"{meaning} (on the CPU {on_cpu}, on cuda {on_cuda})")
    parser.add_argument(
        "--feature-device", choices=CHOICES["feature_device"], default="auto", help="algorithm.nthr.feature_device"
    )
    args = parser.parse_args()
    for name, (_, on_cpu, on_cuda) in SIZES.items():
        if getattr(args, name) is None:
            setattr(args, name, on_cpu if args.device == "cpu" else on_cuda)
    return report.run(measure, args)


def measure(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run all three ways, print the tables, and return the result."""
    shape = SHAPES[args.shape]
    batch = checked_batch(args, shape)
    added: list[tuple[float, float]] = []
    with one_process(args.device):
        engine = build_engine(shape, args.device, args.dtype)
        step = NTHRStep(engine, args.max_token_len, feature_device=args.feature_device)

        def with_nthr() -> Tensor:
            scores = step.run(batch)
            added.append((step.worker_seconds, step.driver_seconds))
            return scores

        ways = {
            "plain": lambda: plain_pass(engine, batch, args.max_token_len),
            "nthr": with_nthr,
            "extra_forward": lambda: plain_and_extra_forward(engine, batch, args.max_token_len),
        }
        first = {name: way() for name, way in ways.items()}
        difference = disagreement(first["nthr"], first["extra_forward"])
        if difference > AGREEMENT[args.dtype]:
            raise report.BenchmarkError(
                f"the scores of the two ways differ by {difference:.1e} of the largest, more than "
                f"{AGREEMENT[args.dtype]:.0e}: one of them is wrong"
            )
        added.clear()
        seconds = interleaved(ways, args.rounds, args.device)
        worker, driver = (list(values) for values in zip(*added, strict=True))
        profiles = {name: profiled(way, args.device) for name, way in ways.items()}
        weights = sum(parameter.nbytes for parameter in engine.module.parameters())

    def ratio(numerator: list[float], denominator: list[float]) -> dict[str, Any]:
        return spread([a / b for a, b in zip(numerator, denominator, strict=True)])

    own_clock = ratio([a + b for a, b in zip(worker, driver, strict=True)], seconds["plain"])
    peaks = {name: weights + peak for name, (peak, _) in profiles.items()}
    result = {
        "attention": attention(args.device),
        "tokens": batch.tokens,
        "response_tokens": batch.response_tokens,
        "entries_per_group": batch.entries_per_group(),
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "worker_seconds": spread(worker),
        "driver_seconds": spread(driver),
        "ratio_nthr": ratio(seconds["nthr"], seconds["plain"]),
        "ratio_nthr_own_clock": 1 + own_clock["median"],
        "ratio_extra_forward": ratio(seconds["extra_forward"], seconds["nthr"]),
        "weights_memory": weights,
        "peak_memory": peaks,
        "peak_memory_ratio": peaks["nthr"] / peaks["plain"],
        "profile": profiles["nthr"][1],
        "largest_difference_of_scores": difference,
    }
    print_result(args, result, console)
    return result


def checked_batch(args: argparse.Namespace, shape: Shape) -> Batch:
    """The batch of the options.

    Raises:
        BenchmarkError: a group cannot be mixed, or a sequence does not fit.
    """
    if args.rollouts < 2:
        raise report.BenchmarkError(f"--rollouts {args.rollouts}: a mixed group has at least 2")
    longest = args.prompt + args.response
    for limit, name in ((shape.positions, f"the positions of {args.shape}"), (args.max_token_len, "--max-token-len")):
        if longest > limit:
            raise report.BenchmarkError(
                f"--prompt {args.prompt} and --response {args.response} make {longest} tokens, above the {limit} of "
                f"{name}; lower them"
            )
    return make_batch(args.groups, args.rollouts, args.response, args.prompt, shape.vocabulary)


def disagreement(scores: Tensor, others: Tensor) -> float:
    """Largest difference of scores [B, response length], jagged, as a part of the largest score."""
    found, expected = scores.values().cpu(), others.values()
    return float((found - expected).abs().max() / expected.abs().max())


def print_result(args: argparse.Namespace, result: dict[str, Any], console: Console) -> None:
    """The tables of a result."""
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
        f"{args.shape}, {args.dtype}: {args.groups} × {args.rollouts} responses, {result['tokens']} tokens "
        f"({result['response_tokens']} of responses, |V*| {result['entries_per_group']:.0f})"
    )
    report.print_table(title, ["", "seconds", "lowest – highest", "to verl's", "peak memory"], rows, console)
    parts = [
        [name, f"{1e3 * found['host_seconds']:.1f}", f"{1e3 * found['device_seconds']:.1f}", found["calls"]]
        for name, found in result["profile"].items()
    ]
    for name in ("worker", "driver"):
        parts.append([f"{name}, by its own clock", f"{1e3 * result[f'{name}_seconds']['median']:.1f}", "", ""])
    report.print_table("Where NTHR's time goes", ["", "host ms", "device ms", "calls"], parts, console)
    nthr, extra = (
        "{median:.4f} ({min:.4f} – {max:.4f})".format(**result[name]) for name in ("ratio_nthr", "ratio_extra_forward")
    )
    console.print(
        f"NTHR / verl's pass: {nthr}, by NTHR's own clock {result['ratio_nthr_own_clock']:.4f}; extra forward / NTHR: "
        f"{extra}; peak memory with NTHR / without: {result['peak_memory_ratio']:.3f}. The two ways' scores differ by "
        f"at most {result['largest_difference_of_scores']:.0e} of the largest.",
        highlight=False,
    )


if __name__ == "__main__":
    sys.exit(main())
