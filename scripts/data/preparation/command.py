"""The command line that the scripts share."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from verl_nthr.arguments import positive_int
from verl_nthr.errors import InputError
from verl_nthr.text import print_error

from .overlap import Evaluation, read_problems
from .reading import Source, place_of, read_splits
from .selection import Selection, Settings, select
from .sets import EVALUATION, MathSet
from .summary import print_summaries, summary, token_counter
from .writing import SYSTEM_MESSAGE, copy_to_hdfs, parquet, rejects, verl_row, write_files

FAILED = 2


def prepare(description: str, math_set: MathSet | None = None, levels: Sequence[int] | None = None) -> int:
    """Write the parquet files of ``math_set`` that the command line asks for.

    Args:
        description: of the command.
        math_set: set to write as ``train.parquet``, and ``test.parquet`` if it has one; None writes
            ``<set>/test.parquet`` for each evaluation set of ``--sets``.
        levels: default of ``--levels``; None for a set without levels.

    Returns:
        0, or 2 with the reason on standard error.
    """
    parser = _parser(description, math_set.name if math_set else "evaluation")
    if math_set:
        _add_training_options(parser, levels)
    else:
        sets = list(EVALUATION.values())
        parser.add_argument("--sets", type=_sets, default=sets, metavar="NAME,…", help=f"({','.join(EVALUATION)})")
    args = parser.parse_args()
    try:
        summaries = _prepare([math_set] if math_set else args.sets, args)
    except (InputError, OSError) as error:
        print_error(parser.prog, " ".join(str(error).split()))
        return FAILED
    print_summaries(summaries)
    return 0


def _parser(description: str, name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.set_defaults(keep=[], against=None, ngram=0, samples=None, seed=0, levels=None, sets=None)
    add = parser.add_argument
    add("--local_save_dir", type=_path, default=f"~/data/{name}", metavar="DIR", help="to write to (%(default)s)")
    add("--hdfs_dir", metavar="DIR", help="folder on HDFS to copy the files to")
    source = "parquet, JSONL or JSON file, or folder, instead of the hub"
    add("--source", "--local_dataset_path", type=_path, metavar="PATH", help=source)
    add("--template", choices=SYSTEM_MESSAGE, default="qwen2.5-math", help="of the prompts (%(default)s)")
    add("--tokenizer", metavar="PATH", help="count the prompts' tokens with this tokenizer")
    _add_keep(parser, "duplicates", "repeated problems")
    _add_keep(parser, "unparsable", "answers that score 0 against themselves")
    add("--rejects", type=_path, metavar="FILE", help="write every dropped row to this file (JSONL)")
    add("--json", type=_path, metavar="FILE", help="write the summary to this file")
    return parser


def _add_training_options(parser: argparse.ArgumentParser, levels: Sequence[int] | None) -> None:
    add = parser.add_argument
    against = "evaluation files, or folders of them, whose problems are removed from the training split"
    add("--against", type=_path, nargs="+", metavar="PATH", help=against)
    add("--ngram", type=_from_zero, default=13, metavar="N", help="words in common that make an overlap; 0: none (13)")
    _add_keep(parser, "overlap", "overlap")
    add("--samples", type=positive_int, metavar="N", help="training rows to draw at random (all)")
    add("--seed", type=_from_zero, metavar="N", help="of that draw (0)")
    if levels:
        help_text = f"of difficulty, of the training split ({' '.join(map(str, levels))})"
        add("--levels", type=positive_int, nargs="+", default=levels, metavar="N", help=help_text)


def _add_keep(parser: argparse.ArgumentParser, what: str, kept: str) -> None:
    help_text = f"count {kept}, but drop none"
    parser.add_argument(f"--keep-{what}", dest="keep", action="append_const", const=what, help=help_text)


def _prepare(math_sets: Sequence[MathSet], args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    count_tokens = token_counter(args.tokenizer) if args.tokenizer else None
    evaluation = Evaluation(read_problems(args.against), args.ngram) if args.against else None
    keep = frozenset(args.keep)
    train = Settings(frozenset(args.levels) if args.levels else None, keep, args.samples, args.seed)
    files: dict[Path, bytes] = {}
    summaries: dict[str, dict[str, Any]] = {}
    dropped = b""
    for math_set in math_sets:
        folder = args.local_save_dir / math_set.name if args.sets else args.local_save_dir
        place = place_of(math_set, args.source, alone=len(math_sets) == 1)
        for split, source in read_splits(math_set, place).items():
            checks = (train, evaluation) if split == "train" else (Settings(keep=keep), None)
            selection = _select(math_set, source, *checks)
            rows = [verl_row(each, math_set, split, args.template) for each in selection.kept]
            path = folder / f"{split}.parquet"
            files[path] = parquet(rows)
            dropped += rejects(math_set.name, split, selection)
            summaries[str(path)] = {
                "set": math_set.name,
                "split": split,
                "source": source.where,
                "template": args.template,
                **summary(selection, [row["prompt"] for row in rows], count_tokens),
            }
    extra: dict[Path, bytes] = {}
    if args.rejects:
        extra[args.rejects] = dropped
    if args.json:
        extra[args.json] = json.dumps({"files": summaries}, indent=1, allow_nan=False).encode()
    write_files(extra | files)
    if args.hdfs_dir:
        copy_to_hdfs(files, args.local_save_dir, args.hdfs_dir)
    return summaries


def _select(math_set: MathSet, source: Source, settings: Settings, evaluation: Evaluation | None) -> Selection:
    selection = select(source.rows, math_set, source.where, settings, evaluation)
    if not selection.read:
        raise InputError(f"{source.where} is empty; give another --source")
    if not selection.kept:
        reasons = Counter(finding.reason for finding in selection.dropped)
        listed = ", ".join(f"{reason} {number}" for reason, number in reasons.items())
        raise InputError(
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
