"""Planted duplicates, unverifiable answers and overlap are found, and nothing else is."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from tests.data.commands import prepare, read_jsonl, read_rows, write_jsonl
from tests.data.rows import dapo_row, math_row
from tests.families import failures

SHARED = "a red fox walks at five miles an hour around the square lake twice"
"""Fourteen words."""

PLANTED = [
    ("If $a=2$, what is $a + 1$?", "3", None),
    ("If  $a = 2$, what is $a+1$", "3", "duplicate"),
    ("If $a=2$, what is $a - 1$?", "1", None),
    ("If $a=2$, what is $a + 1$?", "4", "other_answer"),
    ("What is the colour of grass?", r"\text{}", "unparsable"),
    ("", "5", "no_problem"),
    ("Which number is it?", "", "no_answer"),
    (r"Simplify $\dfrac{6}{4}$.", r"\frac{3}{2}", "overlap_exact"),
    (f"Suppose {SHARED}. How long is its way?", "7", "overlap_ngram"),
    ("A red fox walks at five miles an hour around the square pond. How long?", "8", None),
    ("What is the colour of the sky?", r"\text{blue}", None),
]
"""Problem, answer, and the reason to drop it."""

EVALUATION = [
    {"problem": r"simplify \(\frac{6}{4}\)", "answer": "1.5"},
    {"problem": f"How many steps does it take if {SHARED} and back?", "answer": "12"},
]


def prepare_planted(folder: Path, *options: object) -> tuple[dict[str, Any], list[dict[str, Any]], list[Any]]:
    """The summary, the rejects and the indices of the rows kept."""
    source = write_jsonl(folder / "raw.jsonl", (dapo_row(problem, answer) for problem, answer, _ in PLANTED))
    against = write_jsonl(folder / "evaluation.jsonl", EVALUATION)
    files = ("--json", folder / "summary.json", "--rejects", folder / "rejects.jsonl")
    prepare("dapo17k", "--source", source, "--local_save_dir", folder, "--against", against, *files, *options)
    (summary,) = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["files"].values()
    kept = [row["extra_info"]["index"] for row in read_rows(folder / "train.parquet")]
    return summary, read_jsonl(folder / "rejects.jsonl"), kept


def test_each_planted_row_is_dropped_for_its_reason(tmp_path: Path) -> None:
    summary, rejects, kept = prepare_planted(tmp_path)
    reasons = {index: reason for index, (_, _, reason) in enumerate(PLANTED)}
    assert {reject["index"]: reject["reason"] for reject in rejects} == {i: r for i, r in reasons.items() if r}
    assert kept == [index for index, reason in reasons.items() if reason is None]
    assert summary["read"] == len(PLANTED) == summary["kept"] + sum(summary["dropped"].values())
    assert summary["dropped"] == Counter(reason for reason in reasons.values() if reason)
    assert summary["found_but_kept"] == {}
    by_index = {reject["index"]: reject for reject in rejects}
    assert "row 0" in by_index[1]["detail"]
    assert "the answer 3" in by_index[3]["detail"]
    assert "evaluation.jsonl, row 0" in by_index[7]["detail"]
    assert "evaluation.jsonl, row 1" in by_index[8]["detail"]
    assert (by_index[4]["problem"], by_index[4]["answer"]) == PLANTED[4][:2]


def test_what_is_kept_is_counted(tmp_path: Path) -> None:
    def check(case: tuple[str, set[str]]) -> None:
        option, reasons = case
        summary, _, kept = prepare_planted(tmp_path, option)
        assert summary["found_but_kept"] == dict.fromkeys(reasons, 1)
        assert not summary["dropped"].keys() & reasons
        assert kept == [index for index, (_, _, reason) in enumerate(PLANTED) if reason is None or reason in reasons]

    cases = [
        ("--keep-duplicates", {"duplicate", "other_answer"}),
        ("--keep-unparsable", {"unparsable"}),
        ("--keep-overlap", {"overlap_exact", "overlap_ngram"}),
    ]
    assert failures(check, cases) == []


def test_the_size_of_ngrams(tmp_path: Path) -> None:
    for size, found in ((14, 1), (15, 0), (0, 0)):
        summary, _, _ = prepare_planted(tmp_path, "--ngram", size)
        assert (size, summary["dropped"].get("overlap_ngram", 0)) == (size, found)
        assert summary["dropped"]["overlap_exact"] == 1


def test_against_a_folder_of_prepared_files(tmp_path: Path) -> None:
    evaluation = write_jsonl(tmp_path / "math500.jsonl", EVALUATION)
    prepare("evaluation", "--sets=math500", "--source", evaluation, "--local_save_dir", tmp_path / "evaluation")
    summary, _, _ = prepare_planted(tmp_path, "--against", tmp_path / "evaluation")
    assert (summary["dropped"]["overlap_exact"], summary["dropped"]["overlap_ngram"]) == (1, 1)


def test_levels_are_those_of_the_training_split(tmp_path: Path) -> None:
    rows = [math_row(f"Add 1 to {level}.", r"\boxed{2}", level) for level in ("Level 2", "Level 3", "Level ?")]
    for split in ("train", "test"):
        write_jsonl(tmp_path / "raw" / f"{split}.jsonl", rows)

    def levels(*options: object) -> tuple[list[int | None], list[int | None]]:
        saved = ("--source", tmp_path / "raw", "--local_save_dir", tmp_path)
        prepare("math_levels", *saved, *options)
        train, test = (read_rows(tmp_path / f"{split}.parquet") for split in ("train", "test"))
        return [row["extra_info"]["level"] for row in train], [row["extra_info"]["level"] for row in test]

    assert levels() == ([3], [2, 3, None])
    assert levels("--levels", 1, 2) == ([2], [2, 3, None])


def test_samples_are_drawn_by_the_seed(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "raw.jsonl", (dapo_row(f"What is 2 times {n}?", str(2 * n)) for n in range(50)))

    def drawn(seed: int) -> list[int]:
        files = ("--rejects", tmp_path / "rejects.jsonl")
        prepare("dapo17k", "--source", source, "--local_save_dir", tmp_path, "--samples", 20, "--seed", seed, *files)
        kept = [row["extra_info"]["index"] for row in read_rows(tmp_path / "train.parquet")]
        rejects = read_jsonl(tmp_path / "rejects.jsonl")
        assert {reject["reason"] for reject in rejects} == {"not_drawn"}
        assert sorted(kept + [reject["index"] for reject in rejects]) == list(range(50))
        assert kept == sorted(kept)
        return kept

    first = drawn(0)
    assert len(first) == 20
    assert drawn(0) == first != drawn(1)
