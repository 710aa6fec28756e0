"""docs/design.md names the files on a hidden state's way to an advantage: a real pass and a step go along them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import verl_nthr
from tests.docs.pages import read
from tests.integration.fsdp import build_engine
from tests.integration.joining import score
from tests.integration.passes import Case, make_rows
from tests.integration.steps import StepBatch
from tests.processes import run_ranks

PACKAGE = Path(verl_nthr.__file__).parent
MOST_FILES = 12


class Calls:
    """Functions of this package in the order of their first calls, as "file function"."""

    def __init__(self) -> None:
        self.seen: dict[str, None] = {}

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        file = Path(frame.f_code.co_filename)
        if event == "call" and PACKAGE in file.parents:
            self.seen.setdefault(f"{file.relative_to(PACKAGE)} {frame.f_code.co_name}")

    def __enter__(self) -> Calls:
        sys.setprofile(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)


def run_pass(rank: int, models: str) -> list[str]:
    case, rows = Case("fsdp2", packed=True, dynamic=True), make_rows(0, vocab_size=70)
    engine = build_engine(models, case)
    with Calls() as calls:
        score(engine, rows, list(range(len(rows.group))), case)
    return list(calls.seen)


def way() -> list[tuple[str, list[str]]]:
    """Files of the page's table, each with its functions."""
    table = read("design.md").split("\n## The way of a hidden state\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `")]
    return [(file.strip(" `"), re.findall(r"`(\w+)`", functions)) for file, functions in rows]


def test_a_pass_and_a_step_go_the_way_of_the_page(models: Path) -> None:
    (in_the_worker,) = run_ranks(run_pass, 1, str(models), timeout=300)
    if isinstance(in_the_worker, Exception):
        raise in_the_worker
    with Calls() as calls:
        StepBatch.sound().advantages()
    called: list[Any] = ["integration/driver/trainer.py compute_old_log_prob", *in_the_worker, *calls.seen]
    named = [f"{file} {function}" for file, functions in way() for function in functions]
    # accumulate takes blocks before score is called
    first_of_file = [f"{file} {functions[0]}" for file, functions in way()]
    assert [name for name in named if name not in called] == []
    assert sorted(first_of_file, key=called.index) == first_of_file
    assert len(way()) <= MOST_FILES
