"""The places that a set is read from: all kinds of files, saved folders, and the hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

from data.preparation.reading import read_file, read_splits
from data.preparation.sets import DEEPSCALER, EVALUATION, GSM8K
from tests.data.commands import write_jsonl
from tests.families import failures
from verl_nthr.errors import InputError

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


def test_one_file_is_the_first_split(tmp_path: Path) -> None:
    for write in FILES:
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


def test_a_folder_has_both_splits(tmp_path: Path) -> None:
    for write in (two_saved, two_files):
        splits = read_splits(GSM8K, write(tmp_path))
        assert {name: list(source.rows) for name, source in splits.items()} == {"train": ROWS[:1], "test": ROWS[1:]}


def test_shards_as_the_hub_stores_them(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number, row in enumerate(ROWS):
        pd.DataFrame([row]).to_parquet(tmp_path / "data" / f"train-0000{number}-of-00002.parquet")
    (source,) = read_splits(DEEPSCALER, tmp_path).values()
    assert list(source.rows) == ROWS


HUB = [
    (DEEPSCALER, "agentica-org/DeepScaleR-Preview-Dataset", None, {"train": "train"}),
    (GSM8K, "openai/gsm8k", "main", {"train": "train", "test": "test"}),
    (EVALUATION["aime24"], "HuggingFaceH4/aime_2024", None, {"test": "train"}),
]


def test_the_hub_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*asked: str | None) -> dict[str, list[Any]]:
        return {split: [asked, split] for split in ("train", "test")}

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    for math_set, name, config, splits in HUB:
        found = {written: source.rows for written, source in read_splits(math_set, None).items()}
        assert found == {written: [(name, config), split] for written, split in splits.items()}


def test_a_split_that_the_hub_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: {"validation": []})
    with pytest.raises(InputError, match="math-ai/amc23 has no split test, only validation"):
        read_splits(EVALUATION["amc23"], None)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    def check(case: tuple[str, bytes]) -> None:
        name, content = case
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            list(read_file(tmp_path / name))

    damaged = [
        ("rows.json", b"[" * 100_000),
        ("rows.jsonl", b'{"a": ' + b"9" * 5000 + b"}"),
        ("rows.jsonl", b"\xff\xfe"),
        ("rows.jsonl", b"[1]"),
        ("rows.parquet", b"PAR1 and nothing else PAR1"),
    ]
    assert failures(check, damaged) == []


def test_text_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = parquet(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"#### 5", b"\xff### 5"))
    with pytest.raises(InputError, match=r"rows\.parquet cannot be read as parquet"):
        list(read_file(path))
