"""The data scripts: rows of any content, and files of them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from data.preparation.errors import DataError
from data.preparation.math_set import MathSet, Problem
from data.preparation.overlap import Evaluation
from data.preparation.reading import read_file
from data.preparation.selection import Settings, select
from data.preparation.sets import DAPO17K, DEEPSCALER, EVALUATION, GSM8K, MATH
from data.preparation.templates import TEMPLATES
from data.preparation.writing import parquet, rejects, verl_row
from fuzzing.json_text import Lines, damage, damages, odd_values, written
from fuzzing.target import Target

SETS = (MATH, DEEPSCALER, DAPO17K, GSM8K, *EVALUATION.values())
PROBLEMS = ("Add 2 and 2.", "Find $x$.", "", "[asy]x[/asy] 1 2 3 4 5 6 7 8 9 10 11 12 13 14", "\ud800", "a\u202eb")
ANSWERS = ("4", "$x$", r"It is $\boxed{4}$.", r"\boxed{", "#### 1,200", 27.0, "9" * 5000, r"\frac{1}{0}", "1e999999")
EVALUATED = Evaluation([("x", "1 2 3 4 5 6 7 8 9 10 11 12 13")], 13)
CHAT = [{"role": "user", "content": "Add 2 and 2."}]

cells = st.one_of(
    st.sampled_from(PROBLEMS),
    st.sampled_from(ANSWERS),
    st.sampled_from(
        (CHAT, [*CHAT, 3], [{"role": "user"}], {"ground_truth": "4"}, {"ground_truth": [1, None]}, "Level 3")
    ),
    odd_values,
)


def _columns(math_set: MathSet) -> list[str]:
    more = (math_set.context, math_set.level, math_set.subject)
    return [*math_set.problem, *math_set.answer, *(name for name in more if name)]


def _tables(math_set: MathSet) -> st.SearchStrategy[tuple[MathSet, list[dict[str, Any]]]]:
    row = st.dictionaries(st.sampled_from(_columns(math_set)), cells, max_size=5)
    return st.tuples(st.just(math_set), st.lists(row, max_size=3))


def check_columns(case: tuple[MathSet, list[dict[str, Any]]]) -> None:
    """Rows that are read can be compared, and written in every template."""
    math_set, rows = case
    problems = [math_set.read(index, row) for index, row in enumerate(rows)]
    for each in problems:
        EVALUATED.find(each.problem)
    for template in TEMPLATES.values():
        parquet([verl_row(each, math_set, "train", template) for each in problems])


def check_selection(case: tuple[MathSet, list[dict[str, Any]]]) -> None:
    """Every row is kept or dropped, once, and both can be written."""
    math_set, rows = case
    selection = select(rows, math_set, "rows", Settings(), EVALUATED)
    assert selection.read == len(rows) == len(selection.kept) + len(selection.dropped)
    lines = rejects([(math_set.name, "train", selection)])
    assert len(lines.splitlines()) == len(selection.dropped)


def check_file(case: tuple[str, Lines]) -> None:
    """Rows that are read are mappings by name."""
    suffix, lines = case
    contents = {".jsonl": lines.content, ".json": damage(json.dumps(lines.records).encode(), lines.changes)}
    path = written(f"rows{suffix}", contents.get(suffix, damage(PARQUET, lines.changes)))
    assert all(isinstance(name, str) for row in read_file(path) for name in row)


tables = st.sampled_from(SETS).flatmap(_tables)
PARQUET = parquet([verl_row(Problem(0, "1+1=?", "2", None, None), MATH, "train", TEMPLATES["llama-3.2"])])
rows = st.one_of(odd_values, st.dictionaries(st.text(max_size=3), odd_values, max_size=2))
files = st.tuples(
    st.sampled_from((".json", ".jsonl", ".parquet")), st.builds(Lines, st.lists(rows, max_size=3), damages)
)

TARGETS = (
    Target("data_rows", tables, check_columns),
    Target("data_selection", tables, check_selection, (DataError,)),
    Target("data_files", files, check_file, (DataError,)),
)
