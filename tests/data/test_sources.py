"""The places that a set is read from: all kinds of files, saved folders, and the hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

from data.preparation.errors import DataError
from data.preparation.reading import read_file, read_splits
from data.preparation.sets import DAPO17K, DEEPSCALER, EVALUATION, GSM8K, MATH
from tests.data.commands import write_jsonl

ROWS = [{"question": "What is 2 + 3?", "answer": "#### 5"}, {"question": "What is 2 + 4?", "answer": "#### 6"}]


def parquet(folder: Path) -> Path:
    pd.DataFrame(ROWS).to_parquet(folder / "rows.parquet")
    return folder / "rows.parquet"


def json_list(folder: Path) -> Path:
    (folder / "rows.json").write_text(json.dumps(ROWS), encoding="utf-8")
    return folder / "rows.json"


def one_saved(folder: Path) -> Path:
    datasets.Dataset.from_list(ROWS).save_to_disk(folder / "saved")
    return folder / "saved"


FILES: list[Callable[[Path], Path]] = [
    parquet,
    json_list,
    one_saved,
    lambda folder: write_jsonl(folder / "rows.jsonl", ROWS),
]


@pytest.mark.parametrize("write", FILES)
def test_one_file_is_the_first_split(write: Callable[[Path], Path], tmp_path: Path) -> None:
    splits = read_splits(GSM8K, write(tmp_path))
    assert splits.keys() == {"train"}
    assert list(splits["train"].rows) == ROWS


def two_saved(folder: Path) -> Path:
    train, test = (datasets.Dataset.from_list([row]) for row in ROWS)
    datasets.DatasetDict({"train": train, "test": test}).save_to_disk(folder / "saved")
    return folder / "saved"


def two_files(folder: Path) -> Path:
    write_jsonl(folder / "train.jsonl", ROWS[:1])
    write_jsonl(folder / "test.jsonl", ROWS[1:])
    return folder


@pytest.mark.parametrize("write", [two_saved, two_files])
def test_a_folder_has_both_splits(write: Callable[[Path], Path], tmp_path: Path) -> None:
    splits = read_splits(GSM8K, write(tmp_path))
    assert {name: list(source.rows) for name, source in splits.items()} == {"train": ROWS[:1], "test": ROWS[1:]}


def test_shards_as_the_hub_stores_them(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number, row in enumerate(ROWS):
        pd.DataFrame([row]).to_parquet(tmp_path / "data" / f"train-0000{number}-of-00002.parquet")
    (source,) = read_splits(DEEPSCALER, tmp_path).values()
    assert list(source.rows) == ROWS


HUB = [
    (MATH, "DigitalLearningGmbH/MATH-lighteval", None, {"train": "train", "test": "test"}),
    (DEEPSCALER, "agentica-org/DeepScaleR-Preview-Dataset", None, {"train": "train"}),
    (DAPO17K, "BytedTsinghua-SIA/DAPO-Math-17k", None, {"train": "train"}),
    (GSM8K, "openai/gsm8k", "main", {"train": "train", "test": "test"}),
    (EVALUATION["aime24"], "HuggingFaceH4/aime_2024", None, {"test": "train"}),
    (EVALUATION["amc23"], "math-ai/amc23", None, {"test": "test"}),
    (EVALUATION["math500"], "HuggingFaceH4/MATH-500", None, {"test": "test"}),
    (EVALUATION["minerva"], "math-ai/minervamath", None, {"test": "test"}),
    (EVALUATION["olympiadbench"], "Hothan/OlympiadBench", "OE_TO_maths_en_COMP", {"test": "train"}),
    (EVALUATION["aime25"], "math-ai/aime25", None, {"test": "test"}),
]


@pytest.mark.parametrize(("math_set", "name", "config", "splits"), HUB)
def test_the_hub_is_asked(math_set: Any, name: str, config: str, splits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*asked: str | None) -> dict[str, list[dict[str, str]]]:
        assert asked == (name, config)
        return {split: [{"split": split}] for split in ("train", "test")}

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    found = read_splits(math_set, None)
    assert {written: source.rows for written, source in found.items()} == {
        written: [{"split": split}] for written, split in splits.items()
    }


def test_a_split_that_the_hub_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: {"validation": []})
    with pytest.raises(DataError, match="math-ai/amc23 has no split test, only validation"):
        read_splits(EVALUATION["amc23"], None)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.json", b"[" * 100_000),
        ("rows.jsonl", b'{"a": ' + b"9" * 5000 + b"}"),
        ("rows.jsonl", b"\xff\xfe"),
        ("rows.jsonl", b"[1]"),
        ("rows.parquet", b"PAR1 and nothing else PAR1"),
    ],
)
def test_damaged_files_are_named(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        list(read_file(tmp_path / name))


def test_text_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = parquet(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"#### 5", b"\xff### 5"))
    with pytest.raises(DataError, match=r"rows\.parquet cannot be read as parquet"):
        list(read_file(path))
