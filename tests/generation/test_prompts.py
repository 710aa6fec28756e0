"""Rows that are not what verl expects, and files that are no parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.families import wrong_refusals
from tests.toy import make_tokenizer
from verl_nthr.errors import InputError
from verl_nthr.generation.prompts import Prompt, encode_prompt, read_prompts

ROW = {
    "data_source": "toy",
    "prompt": [{"role": "user", "content": "1+1=?"}],
    "reward_model": {"ground_truth": "2"},
}


def test_rows_that_are_not_verls_are_named(tmp_path: Path) -> None:
    def read(changes: dict[str, Any]) -> None:
        pd.DataFrame([ROW | changes]).to_parquet(tmp_path / "rows.parquet")
        read_prompts(tmp_path / "rows.parquet")

    prompts: list[tuple[Any, str]] = [
        (None, "'prompt'"),
        (7, "'prompt'"),
        ("1+1=?", "'prompt'"),
        (["1+1=?"], "'prompt'[0]"),
        ([{"role": "user"}], "'prompt'[0]['content']"),
        ([{"content": "x"}], "'prompt'[0]['role']"),
        ([{"role": "user", "content": None}], "'prompt'[0]['content']"),
    ]
    cases = [({"prompt": prompt}, fact) for prompt, fact in prompts]
    cases += [({"reward_model": None}, "'reward_model'"), ({"reward_model": {"style": "x"}}, "'ground_truth'")]
    assert wrong_refusals(read, [(changes, ("rows.parquet, row 0", fact)) for changes, fact in cases]) == []


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pd.DataFrame([ROW]).to_parquet(path)
    whole = path.read_bytes()
    for content in (whole[:50], whole[:-20], whole.replace(b"toy", b"t\xffy"), b""):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"rows\.parquet cannot be read as parquet"):
            read_prompts(path)


def test_a_template_that_refuses_a_prompt_is_named() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(InputError, match="chat template refuses the prompt of row 3: roles must alternate"):
        encode_prompt(tokenizer, Prompt(3, ROW["prompt"], "toy", "2", {}))
