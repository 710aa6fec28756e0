"""``verl-nthr probe``: one update per prompt, with and without NTHR."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from verl_nthr.arguments import positive_float, positive_int, seed
from verl_nthr.errors import InputError
from verl_nthr.influence.selection import ETA_RULES, check_beta, check_eta
from verl_nthr.probe.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from verl_nthr.probe.run import Sources

TOY = {"learning_rate": 1e-5, "max_response_tokens": 40}
"""Defaults with ``--toy``."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the arguments of the subcommand."""
    default = Settings()
    parser.description = (
        "For each prompt with correct and wrong responses: one update from the same weights with "
        "GRPO, Pos-Only, GRPO+Random and GRPO+NTHR, and the change of log-likelihood of the correct responses. "
        "A run that was stopped continues when it is started again with the same arguments."
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="path or name of a Hugging Face causal LM")
    parser.add_argument("data", nargs="?", metavar="DATA", help="parquet file in verl's format")
    parser.add_argument("--toy", action="store_true", help="make and probe the demo's toy instead")
    parser.add_argument(
        "--from", dest="stored", metavar="FILE", help="stored rollouts (JSON lines); nothing is sampled"
    )
    parser.add_argument(
        "--reward", metavar="FILE[:NAME]", help="verl reward function; default: verl's own by data source"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the run (default: probe-out)")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    parser.add_argument("--true-effect", action="store_true", help="compare with exact first-order effects of tokens")
    parser.add_argument("--groups", type=positive_int, default=default.groups, help="mixed groups (%(default)s)")
    parser.add_argument("--responses", type=_at_least_two, default=default.responses, help="G (%(default)s)")
    parser.add_argument("--temperature", type=positive_float, default=default.temperature, help="(%(default)s)")
    parser.add_argument(
        "--max-response-tokens",
        type=positive_int,
        help=f"({default.max_response_tokens}; with --toy {TOY['max_response_tokens']})",
    )
    parser.add_argument(
        "--reward-threshold",
        type=float,
        default=default.reward_threshold,
        help="a response is correct from there (%(default)s)",
    )
    parser.add_argument("--optimizer", choices=("adam", "sgd"), default=default.optimizer, help="(%(default)s)")
    rates = f"({default.learning_rate:g}; with --toy {TOY['learning_rate']:g})"
    parser.add_argument("--lr", dest="learning_rate", metavar="LR", type=positive_float, help=f"learning rate {rates}")
    parser.add_argument(
        "--eta", type=_eta, default=default.eta, help="number in [0, 1], balanced, p or 1-p (%(default)s)"
    )
    parser.add_argument("--beta", type=_beta, default=default.beta, help="β of NTHR's threshold (%(default)s)")
    parser.add_argument("--seed", type=seed, default=default.seed, help="of sampling, Random and the toy (%(default)s)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default=default.dtype, help="(%(default)s)")
    parser.add_argument(
        "--tokens-per-forward", type=positive_int, default=default.tokens_per_forward, help="(%(default)s)"
    )
    parser.add_argument(
        "--sampler", choices=("auto", "transformers", "vllm"), default=default.sampler, help="(%(default)s)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the probe; 0 if everything went well, else 1 with the reason on standard error."""
    from rich.console import Console

    from verl_nthr.probe.report import print_report
    from verl_nthr.probe.run import run_probe
    from verl_nthr.text import on_one_line, print_error

    progress = Console(stderr=True)
    out = args.out or Path("probe-out")
    try:
        sources = _sources(args, out, progress)
        summary = run_probe(sources, _settings(args), out, progress)
    except (InputError, OSError) as error:
        print_error("verl-nthr probe", error)
        return 1
    if args.json:
        print(json.dumps(summary, allow_nan=False))
    else:
        print_report(summary, Console())
        folder = on_one_line(str(out))
        print(f"Every prompt: {folder}/probe.json; figures: {folder}/figure1.png, {folder}/figure4.png")
    return 0


def _sources(args: argparse.Namespace, out: Path, console: Console) -> Sources:
    from verl_nthr.probe.run import Sources

    if not args.toy:
        if args.model is None:
            raise InputError("MODEL is missing; pass MODEL and DATA, or --toy")
        return Sources(args.model, args.data, args.reward, args.stored)
    from verl_nthr.probe.toy import REWARD, prepare_toy

    if args.model is not None or args.reward is not None:
        raise InputError("--toy brings its own model, data and reward; leave MODEL, DATA and --reward out")
    with console.status("making the toy") as status:
        toy = prepare_toy(out / "toy", args.seed, lambda state: status.update(f"making the toy: {state}"))
    return Sources(str(toy.model), str(toy.train), REWARD, args.stored)


def _settings(args: argparse.Namespace) -> Settings:
    given = {field.name: getattr(args, field.name) for field in fields(Settings)}
    given = {name: value for name, value in given.items() if value is not None}
    return Settings(**(TOY | given | {"sampler": "transformers"} if args.toy else given))


def _at_least_two(text: str) -> int:
    number = positive_int(text)
    if number < 2:
        raise argparse.ArgumentTypeError("a group needs at least 2 responses")
    return number


def _eta(text: str) -> str | float:
    try:
        return check_eta(text if text in ETA_RULES else float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _beta(text: str) -> float:
    try:
        return check_beta(float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
