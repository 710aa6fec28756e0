"""The data scripts on rows of any content: each row is kept or dropped, and both can be written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from data.preparation.overlap import Evaluation
from data.preparation.reading import read_file
from data.preparation.selection import Settings, select
from data.preparation.sets import DAPO17K, DEEPSCALER, EVALUATION, GSM8K, MATH, MathSet, Problem
from data.preparation.writing import SYSTEM_MESSAGE, parquet, rejects, verl_row
from tests.fuzzing.inputs import damage, damages, fuzzed, json_lines, may_refuse, odd_values
from verl_nthr.errors import InputError

EVALUATED = Evaluation([("x", "1 2 3 4 5 6 7 8 9 10 11 12 13")], 13)
CHAT = [{"role": "user", "content": "Add 2 and 2."}]
CELLS: tuple[Any, ...] = (
    *("Add 2 and 2.", "Find $x$.", "", "[asy]x[/asy] 1 2 3 4 5 6 7 8 9 10 11 12 13 14", "\ud800", "a\u202eb"),
    *("4", "$x$", r"It is $\boxed{4}$.", r"\boxed{", "#### 1,200", 27.0, "9" * 5000, r"\frac{1}{0}", "1e999999"),
    *(CHAT, [*CHAT, 3], [{"role": "user"}], {"ground_truth": "4"}, {"ground_truth": [1, None]}, "Level 3"),
)


def tables(math_set: MathSet) -> st.SearchStrategy[tuple[MathSet, list[dict[str, Any]]]]:
    optional = (name for name in (math_set.context, math_set.level, math_set.subject) if name)
    columns = st.sampled_from([*math_set.problem, *math_set.answer, *optional])
    row = st.dictionaries(columns, st.one_of(st.sampled_from(CELLS), odd_values), max_size=5)
    return st.tuples(st.just(math_set), st.lists(row, max_size=3))


sets = st.sampled_from((MATH, DEEPSCALER, DAPO17K, GSM8K, *EVALUATION.values()))


@fuzzed()
@given(sets.flatmap(tables))
def test_rows_that_are_read_can_be_compared_and_written(case: tuple[MathSet, list[dict[str, Any]]]) -> None:
    math_set, rows = case
    problems = [math_set.read(index, row) for index, row in enumerate(rows)]
    for problem in problems:
        EVALUATED.find(problem.problem)
    for template in SYSTEM_MESSAGE:
        parquet([verl_row(problem, math_set, "train", template) for problem in problems])


@fuzzed()
@given(sets.flatmap(tables))
def test_every_row_is_kept_or_dropped_once(case: tuple[MathSet, list[dict[str, Any]]]) -> None:
    math_set, rows = case
    with may_refuse(InputError):
        selection = select(rows, math_set, "rows", Settings(), EVALUATED)
        assert selection.read == len(rows) == len(selection.kept) + len(selection.dropped)
        assert len(rejects(math_set.name, "train", selection).splitlines()) == len(selection.dropped)


PARQUET = parquet([verl_row(Problem(0, "1+1=?", "2", None, None), MATH, "train", "llama-3.2")])
records = st.dictionaries(st.text(max_size=3), odd_values, max_size=2)
arrays = st.lists(st.one_of(odd_values, records), max_size=3).map(lambda rows: json.dumps(rows).encode())
files = st.one_of(
    st.tuples(st.just(".jsonl"), json_lines({"problem": "1+1=?", "answer": "2"})),
    st.tuples(st.just(".json"), st.builds(damage, arrays, st.one_of(st.just([]), damages))),
    st.tuples(st.just(".parquet"), st.builds(damage, st.just(PARQUET), damages)),
)


@fuzzed(100)
@given(files)
def test_rows_of_a_file_are_mappings_by_name(tmp_path: Path, file: tuple[str, bytes]) -> None:
    suffix, content = file
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(content)
    with may_refuse(InputError):
        assert all(isinstance(name, str) for row in read_file(path) for name in row)
