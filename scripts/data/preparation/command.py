"""The command line that the scripts share."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from verl_nthr.arguments import positive_int
from verl_nthr.text import print_error

from .errors import DataError
from .lengths import TokenCounter, characters
from .math_set import MathSet
from .overlap import Evaluation, read_problems
from .reading import Source, place_of, read_splits
from .report import print_summaries, summary
from .selection import Selection, Settings, select
from .sets import EVALUATION
from .templates import TEMPLATES
from .writing import copy_to_hdfs, parquet, rejects, verl_row, write_files

FAILED = 2


def prepare_training(math_set: MathSet, description: str, levels: Sequence[int] | None = None) -> int:
    """Prepare ``train.parquet``, and ``test.parquet`` of a set that has one.

    Args:
        math_set: which.
        description: of the command.
        levels: default of ``--levels``; None for a set without levels.

    Returns:
        0, or 2 with the reason on standard error.
    """
    parser = _parser(description, math_set.name)
    parser.add_argument(
        "--against",
        type=_path,
        nargs="+",
        metavar="PATH",
        help="evaluation files, or folders of them, whose problems are removed from the training split",
    )
    parser.add_argument(
        "--ngram", type=_from_zero, default=13, metavar="N", help="words in common that make an overlap; 0: none (13)"
    )
    parser.add_argument(
        "--keep-overlap", dest="keep", action="append_const", const="overlap", help="count overlap, but drop none"
    )
    parser.add_argument("--samples", type=positive_int, metavar="N", help="training rows to draw at random (all)")
    parser.add_argument("--seed", type=_from_zero, default=0, metavar="N", help="of that draw (0)")
    if levels is not None:
        parser.add_argument(
            "--levels",
            type=positive_int,
            nargs="+",
            default=levels,
            metavar="N",
            help=f"of difficulty, of the training split ({' '.join(map(str, levels))})",
        )
    args = parser.parse_args()
    keep = frozenset(args.keep)
    train = Settings(frozenset(args.levels) if levels else None, keep, args.samples, args.seed)
    return _run(parser.prog, {math_set: args.local_save_dir}, {"train": train, "test": Settings(keep=keep)}, args)


def prepare_evaluation(description: str) -> int:
    """Prepare ``<set>/test.parquet`` for each set of ``--sets``.

    Returns:
        0, or 2 with the reason on standard error.
    """
    parser = _parser(description, "evaluation")
    parser.add_argument(
        "--sets", type=_sets, default=list(EVALUATION.values()), metavar="NAME,…", help=f"({','.join(EVALUATION)})"
    )
    args = parser.parse_args()
    folders = {each: args.local_save_dir / each.name for each in args.sets}
    return _run(parser.prog, folders, {"test": Settings(keep=frozenset(args.keep))}, args)


def _parser(description: str, name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--local_save_dir",
        type=_path,
        default=_path(f"~/data/{name}"),
        metavar="DIR",
        help=f"folder to write to (~/data/{name})",
    )
    parser.add_argument("--hdfs_dir", metavar="DIR", help="folder on HDFS to copy the files to")
    parser.add_argument(
        "--source",
        "--local_dataset_path",
        type=_path,
        metavar="PATH",
        help="parquet, JSONL or JSON file, or folder, instead of the hub",
    )
    parser.add_argument("--template", choices=TEMPLATES, default="qwen2.5-math", help="of the prompts (%(default)s)")
    parser.add_argument("--tokenizer", metavar="PATH", help="count the prompts' tokens with this tokenizer")
    for what, kept in (("duplicates", "repeated problems"), ("unparsable", "answers that score 0 against themselves")):
        parser.add_argument(
            f"--keep-{what}", dest="keep", action="append_const", const=what, help=f"count {kept}, but drop none"
        )
    parser.add_argument("--rejects", type=_path, metavar="FILE", help="write every dropped row to this file (JSONL)")
    parser.add_argument("--json", type=_path, metavar="FILE", help="write the summary to this file")
    parser.set_defaults(keep=[], against=[])
    return parser


def _run(prog: str, folders: Mapping[MathSet, Path], settings: Mapping[str, Settings], args: argparse.Namespace) -> int:
    try:
        summaries = _prepare(folders, settings, args)
    except (DataError, OSError) as error:
        print_error(prog, " ".join(str(error).split()))
        return FAILED
    print_summaries(summaries, Console())
    return 0


def _prepare(
    folders: Mapping[MathSet, Path], settings: Mapping[str, Settings], args: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    count_tokens = TokenCounter(args.tokenizer) if args.tokenizer else None
    evaluation = Evaluation(read_problems(args.against), args.ngram) if args.against else None
    files: dict[Path, bytes] = {}
    summaries: dict[str, dict[str, Any]] = {}
    selections: list[tuple[str, str, Selection]] = []
    for math_set, folder in folders.items():
        place = place_of(math_set, args.source, alone=len(folders) == 1)
        for split, source in read_splits(math_set, place).items():
            selection = _select(math_set, source, settings[split], evaluation if split == "train" else None)
            rows = [verl_row(each, math_set, split, TEMPLATES[args.template]) for each in selection.kept]
            prompts = [row["prompt"] for row in rows]
            path = folder / f"{split}.parquet"
            files[path] = parquet(rows)
            selections.append((math_set.name, split, selection))
            tokens = [count_tokens(prompt) for prompt in prompts] if count_tokens else None
            summaries[str(path)] = {
                "set": math_set.name,
                "split": split,
                "source": source.where,
                "template": args.template,
                **summary(selection, [characters(prompt) for prompt in prompts], tokens),
            }
    extra: dict[Path, bytes] = {}
    if args.rejects:
        extra[args.rejects] = rejects(selections)
    if args.json:
        extra[args.json] = json.dumps({"files": summaries}, indent=1, allow_nan=False).encode()
    write_files(extra | files)
    if args.hdfs_dir:
        copy_to_hdfs(files, args.local_save_dir, args.hdfs_dir)
    return summaries


def _select(math_set: MathSet, source: Source, settings: Settings, evaluation: Evaluation | None) -> Selection:
    selection = select(source.rows, math_set, source.where, settings, evaluation)
    if not selection.read:
        raise DataError(f"{source.where} is empty; give another --source")
    if not selection.kept:
        reasons = Counter(finding.reason for finding in selection.dropped)
        listed = ", ".join(f"{reason} {number}" for reason, number in reasons.items())
        raise DataError(
            f"nothing is left of the {selection.read} rows of {source.where} ({listed}); is this --source of another "
            "set, or is a --keep-… option wanted?"
        )
    return selection


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _from_zero(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return number


def _sets(text: str) -> list[MathSet]:
    names = text.split(",")
    if unknown := [name for name in names if name not in EVALUATION]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: the sets are {', '.join(EVALUATION)}")
    return [EVALUATION[name] for name in dict.fromkeys(names)]
