"""Stored rollouts: verl's files, token dumps, and what is wrong with a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.families import wrong_refusals
from tests.heatmap.records import record
from tests.toy import make_tokenizer
from verl_nthr.errors import InputError
from verl_nthr.generation.prompts import Prompt
from verl_nthr.probe.stored import read_stored

TOKENIZER = make_tokenizer()
PROMPTS = [Prompt(index, [{"role": "user", "content": f"{index}+1=?"}], "toy", "1", {}) for index in range(2)]
VERL = {"input": "user\n0+1=?\nassistant\n", "output": "so 1", "gts": "1", "score": 1.0, "step": 3, "uid": "abc_0_0"}
DUMP = record(prompt="<|im_start|>user\n0+1=?<|im_end|>\n<|im_start|>assistant\n", token_ids=[9, 8, 3], reward=0.5)


def write(folder: Path, *entries: dict | str) -> Path:
    path = folder / "rollouts.jsonl"
    lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_verl_rollouts(tmp_path: Path) -> None:
    other = {**VERL, "input": "user\n1+1=?\nassistant\n", "uid": "xyz_0_0", "score": 0.0}
    second = {**VERL, "output": "so 12345", "score": 0.25, "uid": "abc_1_0"}
    groups = read_stored(write(tmp_path, VERL, other, second), TOKENIZER, PROMPTS, max_response_tokens=8)
    assert [group.name for group in groups] == ["3/abc", "3/xyz"]
    assert groups[0].rewards == [1.0, 0.25]
    assert TOKENIZER.decode(groups[0].prompt) == DUMP["prompt"]
    # the first response ended by itself, the second one was cut at 8 tokens
    assert [TOKENIZER.decode(response) for response in groups[0].responses] == ["so 1<|im_end|>", "so 12345"]


def test_verl_rollouts_without_uid_are_grouped_by_prompt_and_step(tmp_path: Path) -> None:
    plain = {name: value for name, value in VERL.items() if name != "uid"}
    path = write(tmp_path, plain, plain, {**plain, "step": 4})
    assert [len(group.rewards) for group in read_stored(path, TOKENIZER, PROMPTS, 8)] == [2, 1]


def test_token_dumps_need_no_data(tmp_path: Path) -> None:
    (group,) = read_stored(write(tmp_path, DUMP, {**DUMP, "reward": 1}), TOKENIZER, None, 8)
    assert group.responses == [[9, 8, 3]] * 2
    assert group.rewards == [0.5, 1.0]
    assert TOKENIZER.decode(group.prompt) == DUMP["prompt"]


def test_bad_files_are_named(tmp_path: Path) -> None:
    cases: list[tuple[tuple[dict | str, ...], tuple[str, ...]]] = [
        ((VERL, json.dumps(VERL)[:40]), (":2", "cut off")),
        ((VERL, "[1]"), (":2",)),
        ((VERL, "[" * 100_000), (":2",)),
        (('{"score": ' + "9" * 5000 + "}",), (":1",)),
        (({**VERL, "score": 10**400},), (":1", "'score'")),
        (({**VERL, "score": None},), (":1", "'score'", "None")),
        (({**VERL, "score": float("nan")},), (":1", "'score'", "finite", "nan")),
        (({**VERL, "input": "x"},), (":1", "DATA", "'x'")),
        (({"output": "x", "score": 1.0},), (":1", "'input'")),
        (({**DUMP, "token_ids": [1, None]},), (":1", "'token_ids'[1]", "None")),
        (({**DUMP, "mask": None},), (":1", "'mask'", "None")),
        (({**DUMP, "mask": [1, 0, 1]},), (":1", "single-turn")),
        (({**DUMP, "uid": None},), (":1", "'uid'", "None")),
        (({**DUMP, "schema": 1},), (":1", "schema 1")),
        (("",), ("is empty",)),
    ]
    assert (
        wrong_refusals(
            lambda entries: read_stored(write(tmp_path, *entries), TOKENIZER, PROMPTS, 8),
            [(entries, ("rollouts.jsonl", *facts)) for entries, facts in cases],
        )
        == []
    )


def test_verl_rollouts_need_the_data(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pass DATA"):
        read_stored(write(tmp_path, VERL), TOKENIZER, None, 8)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_stored(tmp_path / "nothing.jsonl", TOKENIZER, None, 8)
