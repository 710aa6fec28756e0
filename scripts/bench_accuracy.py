"""What each numeric choice does to scores and selections, against the double sums in float64.

Errors are parts of the largest score of the token's group; selections are those of the tokens of wrong answers, β = 1.
On the CPU, products in TF32 and bf16 are emulated: operands rounded, sums in float32.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks import report
from benchmarks.engine import check_device
from benchmarks.numerics import LOG_Z, Choice, Distance, decide, reference
from benchmarks.responses import draw_responses
from benchmarks.rounding import MANTISSA_BITS
from verl_nthr.arguments import positive_int

MODELS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
VOCABULARIES = ("response", "full")
SIZE = {"groups": 4, "rollouts": 8, "response": 32, "hidden": 256, "vocabulary": 8192}
QUICK_SIZE = {"groups": 2, "rollouts": 4, "response": 8, "hidden": 32, "vocabulary": 256}


def main() -> int:
    """Run the benchmark; 0 if everything went well, else 1 with the reason on standard error."""
    return report.run("bench_accuracy", measure, make_parser().parse_args())


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(%(default)s)")
    parser.add_argument("--seeds", type=positive_int, default=5, metavar="N", help="seeds 0 to N - 1 (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="small batches and one seed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    return parser


def choices() -> list[Choice]:
    """All choices; in float32 the model's own logit and one taken anew are the same."""
    every = itertools.product(MODELS, VOCABULARIES, MANTISSA_BITS, LOG_Z)
    return [
        Choice(model, vocabulary, products, log_z)
        for model, vocabulary, products, log_z in every
        if (model, log_z) != ("float32", "own logit")
    ]


def measure(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Compare all choices on the same batches, print the table, and return the result."""
    device = check_device(args.device)
    size, seeds = (QUICK_SIZE, 1) if args.quick else (SIZE, args.seeds)
    result = report.environment(args, device) | {"size": size, "seeds": seeds}
    report.print_environment(result, console)
    to_own = {choice: Distance() for choice in choices()}
    to_float32 = {choice: Distance() for choice in to_own if choice.model != "float32"}
    selected: list[torch.Tensor] = []
    for seed in range(seeds):
        responses = draw_responses(seed, **size)
        of_model = {name: responses.rounded(dtype) for name, dtype in MODELS.items()}
        expected = {
            (name, vocabulary): reference(mine, vocabulary)
            for name, mine in of_model.items()
            for vocabulary in VOCABULARIES
        }
        wrong = ~responses.correct[responses.response]
        selected.append(expected["float32", "response"].selected[wrong])
        for choice, distance in to_own.items():
            found = decide(of_model[choice.model], choice, device)
            distance.add(found, expected[choice.model, choice.vocabulary], responses)
            if choice in to_float32:
                to_float32[choice].add(found, expected["float32", choice.vocabulary], responses)
    result["wrong_tokens"] = sum(map(len, selected))
    result["selected_by_reference"] = float(torch.cat(selected).double().mean())
    result["choices"] = [
        asdict(choice)
        | distance.summary()
        | ({"to_float32_model": to_float32[choice].summary()} if choice in to_float32 else {})
        for choice, distance in to_own.items()
    ]
    print_result(result, console)
    return result


def print_result(result: dict[str, Any], console: Console) -> None:
    """A table for each dtype of the model."""
    for model in MODELS:
        rows = [row for row in result["choices"] if row["model"] == model]
        headings = ["vocabulary", "products", "log Z from", "largest", "RMS", "selections changed"]
        cells = [[row["vocabulary"], row["products"], row["log_z"], *_figures(row)] for row in rows]
        if model != "float32":
            headings += ["to float32: largest", "RMS", "changed"]
            cells = [line + _figures(row["to_float32_model"]) for line, row in zip(cells, rows, strict=True)]
        report.print_table(f"error of scores, model in {model}, {result['seeds']} seeds", headings, cells, console)
    console.print(
        f"The reference selects {100 * result['selected_by_reference']:.1f} % of {result['wrong_tokens']} tokens of "
        "wrong answers.",
        highlight=False,
    )


def _figures(row: dict[str, Any]) -> list[str]:
    return [f"{row['max_error']:.1e}", f"{row['rms_error']:.1e}", f"{100 * row['changed_selections']:.2f} %"]


if __name__ == "__main__":
    sys.exit(main())
