"""``verl-nthr eval``: greedy accuracy and Pass@K of models and checkpoints on benchmarks."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path

from verl_nthr.arguments import positive_float, positive_int, seed


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the arguments of the subcommand."""
    parser.description = (
        "Greedy accuracy of each model on each benchmark and, with --samples, Pass@K, with confidence "
        "intervals, as tables, JSON and figures. A run that was stopped continues when it is started again with the "
        "same arguments, and more models or benchmarks can join it."
    )
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="Hugging Face model or merged checkpoint of verl, as PATH, NAME=PATH or NAME=PATH@STEP",
    )
    parser.add_argument(
        "--data",
        nargs="+",
        type=Path,
        required=True,
        metavar="PATH",
        help="benchmarks: parquet files in verl's format, or folders of them",
    )
    parser.add_argument(
        "--reward", metavar="FILE[:NAME]", help="verl reward function; default: verl's own by data source"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("eval-out"), metavar="DIR", help="folder of the run (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print evaluation.json instead of the tables")
    parser.add_argument("--samples", type=positive_int, default=0, help="responses to each prompt, for Pass@K (none)")
    parser.add_argument("--k", type=positive_int, help="largest K of Pass@K (as --samples, but at most 256)")
    parser.add_argument("--temperature", type=positive_float, default=1.0, help="of the samples (%(default)s)")
    parser.add_argument("--max-response-tokens", type=positive_int, default=3072, help="(%(default)s)")
    parser.add_argument(
        "--reward-threshold", type=float, default=0.5, help="a response is correct from there (%(default)s)"
    )
    parser.add_argument("--seed", type=seed, default=0, help="of the samples (%(default)s)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16", help="(%(default)s)")
    parser.add_argument("--sampler", choices=("auto", "transformers", "vllm"), default="auto", help="(%(default)s)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate; 0 if everything went well, else 1 with the reason on standard error."""
    from rich.console import Console

    from verl_nthr.errors import InputError
    from verl_nthr.extras import check_installed
    from verl_nthr.tables import print_grids
    from verl_nthr.text import on_one_line, print_error

    try:
        check_installed("matplotlib", "pyarrow", "scipy")
        from verl_nthr.evaluation.benchmarks import read_benchmarks
        from verl_nthr.evaluation.models import parse_models
        from verl_nthr.evaluation.report import grids
        from verl_nthr.evaluation.run import evaluate
        from verl_nthr.evaluation.settings import Settings
        from verl_nthr.generation.scoring import Reward

        settings = Settings(**{field.name: getattr(args, field.name) for field in fields(Settings)})
        models, benchmarks = parse_models(args.models), read_benchmarks(args.data)
        document = evaluate(models, benchmarks, Reward(args.reward), settings, args.out, Console(stderr=True))
    except (InputError, OSError) as error:
        print_error("verl-nthr eval", error)
        return 1
    if args.json:
        print(json.dumps(document, ensure_ascii=True, allow_nan=False))
    else:
        print_grids(grids(document), Console())
        out = on_one_line(str(args.out))
        print(f"All numbers: {out}/evaluation.json; the tables: {out}/evaluation.md")
    return 0
