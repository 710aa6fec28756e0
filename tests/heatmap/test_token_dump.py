"""The reader of token dumps: what is right is kept, what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.families import wrong_refusals
from tests.heatmap.records import correct_record, record, write_dump
from verl_nthr.errors import InputError
from verl_nthr.heatmap.token_dump import dumped_steps, parse_response, read_step


def test_groups_and_values(tmp_path: Path) -> None:
    path = write_dump(tmp_path / "7.jsonl", correct_record(), record(), record(uid="other", tau=None, eta=None))
    first, second = read_step(path)
    assert (first.uid, first.mixed, second.uid, second.mixed) == ("g", True, "other", False)
    wrong, correct = first.responses
    assert (wrong.response_index, correct.response_index) == (0, 1)
    assert wrong.scores == [2.5, 0.5, -3.0]
    assert wrong.tau == 1.0
    assert second.responses[0].tau is None
    assert [wrong.eased(i) for i in range(3)] == [True, False, False]
    assert [correct.eased(i) for i in range(3)] == [False, False, False]


def test_spared_without_a_threshold_and_with_factor_one() -> None:
    everything = parse_response(json.dumps(record(tau=None, weights=[0.5, 0.5, 1.0], mask=[1, 0, 1])), "x")
    assert [everything.eased(i) for i in range(3)] == [True, False, False]
    factor_one = parse_response(json.dumps(record(eta=1.0, weights=[1.0, 1.0, 1.0])), "x")
    assert [factor_one.eased(i) for i in range(3)] == [True, False, False]


def test_every_key_is_needed() -> None:
    def read(missing: str) -> None:
        parse_response(json.dumps({key: value for key, value in record().items() if key != missing}), "FILE:3")

    assert wrong_refusals(read, [(key, ("FILE:3", repr(key))) for key in record()]) == []


def test_wrong_values_are_named() -> None:
    def read(changes: dict[str, Any]) -> None:
        parse_response(json.dumps(record(**changes)), "FILE:3")

    cases: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({"schema": 1}, ("schema 1", "2")),
        ({"schema": "9" * 99}, ("schema '999",)),
        ({"step": "7"}, ("'step'", "integer", "'7'")),
        ({"step": True}, ("'step'", "integer", "True")),
        ({"step": 2**53 + 1}, ("'step'", str(2**53 + 1))),
        ({"tokens": ["so", 1, "3"]}, ("'tokens'[1]", "string", "1")),
        ({"tokens": "so 3"}, ("'tokens'", "list", "'so 3'")),
        ({"token_ids": [1, 2, 10**400]}, ("'token_ids'[2]", "1000")),
        ({"mask": [1, 1, 2]}, ("'mask'[2]", "2")),
        ({"mask": [1, True, 1]}, ("'mask'[1]", "True")),
        ({"scores": [1.0]}, ("'scores'", "1 entries", "3 tokens")),
        ({"scores": ["a", None, 1]}, ("'scores'[0]", "number", "'a'")),
        ({"scores": [float("nan"), 0.0, 0.0]}, ("'scores'[0]", "finite", "nan")),
        ({"scores": [0.0, float("-inf"), 0.0]}, ("'scores'[1]", "finite", "-inf")),
        ({"entropies": [None, False, 1]}, ("'entropies'[1]", "number", "False")),
        ({"entropies": []}, ("'entropies'", "0 entries", "3 tokens")),
        ({"weights": [None, 1.0, 1.0]}, ("'weights'[0]", "number", "None")),
        ({"reward": 1e39}, ("'reward'", "1e+39")),
        ({"reward": 10**400}, ("'reward'", "number")),
        ({"correct": 1}, ("'correct'", "boolean", "1")),
        ({"tau": "big"}, ("'tau'", "number", "'big'")),
        ({"prompt": None}, ("'prompt'", "string", "None")),
        ({"prompt": ["x" * 10_000]}, ("'prompt'", "string", "['xxx")),
    ]
    assert wrong_refusals(read, [(changes, ("FILE:3", *facts)) for changes, facts in cases]) == []


def test_lines_that_are_no_records_are_named() -> None:
    lines = ["", "{", "[]", "7", '"schema"', "{}", json.dumps(record())[:-9], "[" * 100_000, '{"schema": ' + "9" * 5000]
    assert wrong_refusals(lambda line: parse_response(line, "FILE:1"), [(line, ("FILE:1",)) for line in lines]) == []


def test_line_numbers_several_steps_twice_and_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "7.jsonl"
    path.write_text(json.dumps(record()) + "\n{}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"7\.jsonl:2 has no 'schema'"):
        read_step(path)
    with pytest.raises(InputError, match="several steps: 7, 8"):
        read_step(write_dump(path, record(), correct_record(step=8)))
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
