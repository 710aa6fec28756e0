"""``verl-nthr heatmap``: token dumps as one HTML page and as summaries."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the description and the arguments of the subcommand."""
    parser.description = (
        "Reads what algorithm.nthr.token_dump_dir has written and makes one self-contained HTML page: "
        "every response with its tokens coloured by their NTHR score, filters, search, and summaries."
    )
    parser.add_argument(
        "dumps", nargs="+", type=Path, metavar="DUMP", help="folder of a token dump, or its <step>.jsonl files"
    )
    parser.add_argument("--out", type=Path, default=Path("tokens.html"), metavar="FILE", help="(default: %(default)s)")
    parser.add_argument("--title", help="heading of the page (default: names the dump)")
    parser.add_argument(
        "--steps",
        type=_steps,
        default=[],
        metavar="LIST",
        help="steps of the folders, such as 1,10-20 (default: all)",
    )
    parser.add_argument("--json", action="store_true", help="print the summaries as one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the page; 0 if everything went well, else 1 with the reason on standard error."""
    from rich.console import Console

    from verl_nthr.errors import InputError
    from verl_nthr.heatmap.inputs import find_dumps
    from verl_nthr.heatmap.page import write_heatmap
    from verl_nthr.heatmap.report import print_report
    from verl_nthr.text import on_one_line, print_error

    title = args.title or f"Token scores of {', '.join(map(str, args.dumps[:3]))}{' …' if args.dumps[3:] else ''}"
    try:
        with Console(stderr=True).status("reading") as status:
            files = find_dumps(args.dumps, args.steps)
            summary = write_heatmap(files, args.out, title, status.update)
    except (InputError, OSError) as error:
        print_error("verl-nthr heatmap", error)
        return 1
    if args.json:
        print(json.dumps(asdict(summary), ensure_ascii=True, allow_nan=False))
    else:
        print_report(summary, Console())
        print(f"page: {on_one_line(str(args.out))}")
    return 0


def _steps(text: str) -> list[range]:
    ranges = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if match is None:
            raise argparse.ArgumentTypeError(f"{part!r} is neither a step nor a range; use for example 1,10-20")
        first = int(match[1])
        ranges.append(range(first, int(match[2] or first) + 1))
    return ranges
