"""The fuzz command: it finds no crash in a few seconds, and finds one that is planted."""

from __future__ import annotations

import io
import json
import sys
from unittest import mock

import pytest
from hypothesis import strategies as st
from rich.console import Console

import fuzz
from fuzzing import TARGETS
from fuzzing.runner import run_target
from fuzzing.target import Target
from verl_nthr.heatmap import token_dump
from verl_nthr.heatmap.token_dump import DumpError, Response

SLOW = {"settings", "overrides", "data_selection"}
"""They compose whole configurations, or ask a symbolic scorer."""

QUIET = Console(file=io.StringIO())


def test_quick_targets_find_no_crash() -> None:
    quick = [name for name in TARGETS if name not in SLOW]
    report = fuzz.fuzz(quick, 5.0, 0, QUIET)
    assert report["crashes"] == []
    assert list(report["targets"]) == quick
    assert all(found["cases"] > 0 for found in report["targets"].values()), report
    assert report["cases"] == sum(found["cases"] for found in report["targets"].values())


@pytest.mark.slow
def test_all_targets_find_no_crash() -> None:
    report = fuzz.fuzz(list(TARGETS), 240.0, 1, QUIET)
    assert report["crashes"] == []
    refused = {name for name, found in report["targets"].items() if found["rejected"]}
    accepted = {name for name, found in report["targets"].items() if found["rejected"] < found["cases"]}
    assert accepted == set(TARGETS)
    assert refused == {name for name, target in TARGETS.items() if target.documented}


def planted(_: Response) -> Response:
    raise KeyError("planted")


def test_a_planted_bug_is_found_and_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parse = token_dump.parse_response
    monkeypatch.setattr(sys, "argv", ["fuzz.py", "--seconds", "3", "--target", "token_dumps", "--json"])
    with mock.patch.object(token_dump, "parse_response", lambda *args: planted(parse(*args))):
        assert fuzz.main() == 1
    report = json.loads(capsys.readouterr().out)
    (crash,) = report["crashes"]
    assert crash["error"] == "KeyError: 'planted'"
    assert crash["where"].startswith("verl_nthr/heatmap/token_dump.py:")
    assert crash["target"] == "token_dumps"
    # a record without tokens, and nothing done to the file
    assert crash["example"].startswith("Lines(records=[{'tokens': []")
    assert crash["example"].endswith("changes=[])")
    assert report["targets"]["token_dumps"]["crashes"] == 1


def test_examples_are_made_small() -> None:
    def check(numbers: list[int]) -> None:
        if sum(numbers) > 1000:
            raise KeyError

    tally = run_target(Target("sums", st.lists(st.integers()), check), 5.0, 0)
    assert [crash.example for crash in tally.crashes.values()] == ["[1001]"]


def test_errors_of_libraries_are_no_refusals() -> None:
    target = TARGETS["token_dumps"]

    def through_a_library(_: object) -> None:
        json.loads("{", object_hook=print, cls=Refusing)

    class Refusing(json.JSONDecoder):
        def decode(self, text: str) -> None:
            super().decode(text)

    broken = Target("broken", target.cases, through_a_library, (json.JSONDecodeError,))
    (crash,) = run_target(broken, 0.1, 0).crashes.values()
    assert crash.error.startswith("JSONDecodeError")


def test_a_broken_promise_is_a_crash() -> None:
    target = TARGETS["token_dumps"]

    def promise(_: object) -> None:
        raise AssertionError

    broken = Target("broken", target.cases, promise, (DumpError,))
    tally = run_target(broken, 0.1, 0)
    assert [crash.error for crash in tally.crashes.values()] == ["AssertionError: "]
