"""The reader of token dumps: what is right is kept, what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.heatmap.records import record, right, write_dump
from verl_nthr.errors import InputError
from verl_nthr.heatmap.token_dump import dumped_steps, parse_response, read_step


def test_groups_and_values(tmp_path: Path) -> None:
    path = write_dump(tmp_path / "7.jsonl", right(), record(), record(uid="other", tau=None, eta=None))
    first, second = read_step(path)
    assert (first.uid, first.mixed, second.uid, second.mixed) == ("g", True, "other", False)
    wrong, correct = first.responses
    assert (wrong.response_index, correct.response_index) == (0, 1)
    assert wrong.scores == [2.5, 0.5, -3.0]
    assert wrong.tau == 1.0
    assert second.responses[0].tau is None
    assert [wrong.spared(i) for i in range(3)] == [True, False, False]
    assert [correct.spared(i) for i in range(3)] == [False, False, False]


def test_spared_without_a_threshold_and_with_factor_one() -> None:
    everything = parse_response(json.dumps(record(tau=None, weights=[0.5, 0.5, 1.0], mask=[1, 0, 1])), "x")
    assert [everything.spared(i) for i in range(3)] == [True, False, False]
    factor_one = parse_response(json.dumps(record(eta=1.0, weights=[1.0, 1.0, 1.0])), "x")
    assert [factor_one.spared(i) for i in range(3)] == [True, False, False]


@pytest.mark.parametrize("missing", sorted(record().keys()))
def test_every_key_is_needed(missing: str) -> None:
    entry = record()
    del entry[missing]
    with pytest.raises(InputError, match=f"^FILE:3 has no '{missing}'"):
        parse_response(json.dumps(entry), "FILE:3")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 1}, r"schema 1, this version reads 2: use the version of verl-nthr that wrote it"),
        ({"schema": "9" * 99}, r"schema '9+…,"),
        ({"step": "7"}, r"'step' has to be an integer, it is '7'"),
        ({"step": True}, r"'step' has to be an integer"),
        ({"tokens": ["so", 1, "3"]}, r"'tokens' has to be a list of strings"),
        ({"mask": [1, 1, 2]}, r"'mask' has to be a list of 0 and 1"),
        ({"scores": [1.0]}, r"'scores' has 1 entries for 3 tokens"),
        ({"scores": ["a", None, 1]}, r"'scores' has to be a list of numbers and nulls"),
        ({"entropies": [None, False, 1]}, r"'entropies' has to be a list of numbers and nulls"),
        ({"entropies": []}, r"'entropies' has 0 entries for 3 tokens"),
        ({"reward": 10**40}, r"'reward' has to be a number"),
        ({"step": 2**53 + 1}, r"'step' has to be an integer"),
        ({"token_ids": [1, 2, 10**400]}, r"'token_ids' has to be a list of integers"),
        ({"prompt": ["x" * 10_000]}, r"'prompt' has to be a string, it is \['x{57}…$"),
        ({"weights": [None, 1.0, 1.0]}, r"'weights' has to be a list of numbers"),
        ({"correct": 1}, r"'correct' has to be true or false"),
        ({"tau": "big"}, r"'tau' has to be a number or null"),
        ({"prompt": None}, r"'prompt' has to be a string"),
    ],
)
def test_wrong_values(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^FILE:3.*{message}"):
        parse_response(json.dumps(record(**changes)), "FILE:3")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_no_strict_json(value: float) -> None:
    with pytest.raises(InputError, match="no strict JSON"):
        parse_response(json.dumps(record(scores=[value, 0.0, 0.0])), "FILE:1")


@pytest.mark.parametrize("line", ["", "{", "[]", "7", '"schema"', json.dumps(record())[:-9], "[" * 100_000])
def test_no_dump(line: str) -> None:
    with pytest.raises(InputError, match=r"^FILE:1"):
        parse_response(line, "FILE:1")


def test_line_numbers_several_steps_twice_and_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "7.jsonl"
    path.write_text(json.dumps(record()) + "\n{}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"7\.jsonl:2 has no 'schema'"):
        read_step(path)
    with pytest.raises(InputError, match="several steps: 7, 8"):
        read_step(write_dump(path, record(), right(step=8)))
    with pytest.raises(InputError, match=r"7\.jsonl:2: response 0 of g is twice"):
        read_step(write_dump(path, record(), record()))
    path.write_bytes(b'\xff\xfe{"schema"')
    with pytest.raises(InputError, match="not UTF-8"):
        read_step(path)


def test_steps_are_sorted_as_numbers(tmp_path: Path) -> None:
    for name in ("10.jsonl", "9.jsonl", "notes.jsonl", "3.jsonl.part", "09.jsonl", "٣.jsonl"):
        (tmp_path / name).touch()
    (tmp_path / "11.jsonl").mkdir()
    assert list(dumped_steps(tmp_path)) == [9, 10]
    assert dumped_steps(tmp_path / "missing") == {}
