"""The command from end to end on a tiny untrained model: results, resumption, bad input."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.toy import ToyPaths, make_model, make_tokenizer, make_toy
from verl_nthr.cli.main import INTERRUPTED, main
from verl_nthr.probe.experiment import Experiment

REWARD = """\
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    return {"score": float(ord(solution_str[:1] or "a") % 2)}

def none_right(**_):
    return 0.0
"""
OPTIONS = ["--groups", "3", "--responses", "4", "--max-response-tokens", "6", "--true-effect", "--lr", "1e-3"]
OPTIONS += ["--sampler", "transformers", "--json"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ToyPaths:
    paths = make_toy(tmp_path_factory.mktemp("toy"), rows=16)
    paths.reward.write_text(REWARD, encoding="utf-8")
    return paths


def run(*arguments: object) -> int:
    return main(["probe", *map(str, arguments)])


def run_toy(toy: ToyPaths, out: Path, *options: object) -> int:
    return run(toy.model, toy.train, "--reward", toy.reward, "--out", out, *OPTIONS, *options)


def results(out: Path) -> dict[str, Any]:
    return json.loads((out / "probe.json").read_text(encoding="utf-8"))


def test_json_and_files(toy: ToyPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_toy(toy, tmp_path / "out") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["groups"] == 3
    assert set(summary["variants"]) == {"grpo", "pos_only", "random", "nthr", "exact"}
    for variant in summary["variants"].values():
        assert math.isfinite(variant["mean_delta"])
        assert 0 <= variant["share_negative"] <= 1
    assert {"nthr_beats_grpo", "nthr_beats_random"} <= set(summary)
    assert summary["gwhes_overlap"] == {"10": None, "15": None}
    assert {"nthr", "entropy", "neg_log_prob", "eased_that_harm"} <= set(summary["true_effect"])

    document = results(tmp_path / "out")
    assert document["summary"] == summary
    deltas = [result["delta"]["grpo"] for result in document["results"]]
    assert summary["variants"]["grpo"]["mean_delta"] == pytest.approx(sum(deltas) / 3)
    gains = [result["delta"]["nthr"] - result["delta"]["grpo"] for result in document["results"]]
    assert summary["variants"]["nthr"]["mean_gain"] == pytest.approx(sum(gains) / 3)
    for name in ("figure1.png", "figure4.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")
    assert not list((tmp_path / "out").glob("*.part"))


@pytest.mark.slow
def test_the_table_is_printed(toy: ToyPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [option for option in OPTIONS if option != "--json"]
    assert run(toy.model, toy.train, "--reward", toy.reward, "--out", tmp_path / "out", *arguments) == 0
    printed = capsys.readouterr().out
    for expected in ("3 mixed groups", "GRPO+NTHR", "Pos-Only", "Punishing truly harms", "probe.json"):
        assert expected in printed


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_results(
    toy: ToyPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_toy(toy, tmp_path / "whole") == 0
    measure = Experiment.measure

    def killed(self: Experiment, rollout: Any, number: int) -> dict[str, Any]:
        if number == 2:
            raise KeyboardInterrupt
        return measure(self, rollout, number)

    out = tmp_path / "killed"
    monkeypatch.setattr(Experiment, "measure", killed)
    assert run_toy(toy, out) == INTERRUPTED
    assert not (out / "probe.json").exists()
    # a kill in the middle of two lines
    for name, keep in (("results.jsonl", 2), ("groups.jsonl", 3)):
        lines = (out / name).read_bytes().splitlines(keepends=True)
        (out / name).write_bytes(b"".join(lines[:keep]) + lines[keep][:20])
    measured: list[int] = []

    def counted(self: Experiment, rollout: Any, number: int) -> dict[str, Any]:
        measured.append(number)
        return measure(self, rollout, number)

    monkeypatch.setattr(Experiment, "measure", counted)
    assert run_toy(toy, out) == 0
    assert measured == [1, 2]
    assert results(out) == results(tmp_path / "whole")
    assert (out / "groups.jsonl").read_bytes() == (tmp_path / "whole" / "groups.jsonl").read_bytes()


def test_other_settings_are_refused(toy: ToyPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_toy(toy, tmp_path) == 0
    assert run_toy(toy, tmp_path, "--seed", "1") == 1
    assert "seed=0; pass another --out" in capsys.readouterr().err
    results = tmp_path / "results.jsonl"
    made_with, first, *_ = results.read_text().splitlines()
    results.write_text(f"{made_with}\n{json.dumps(json.loads(first) | {'delta': None})}\n")
    assert run_toy(toy, tmp_path) == 1
    printed = capsys.readouterr().err
    assert all(fact in printed for fact in ("results.jsonl:2", "'delta'", "None", "--out"))
    results.write_text("[" * 100_000 + "\n")
    assert run_toy(toy, tmp_path) == 1
    assert "results.jsonl:1 is no JSON" in capsys.readouterr().err


def test_stored_rollouts_of_the_same_prompt(toy: ToyPaths, tmp_path: Path) -> None:
    lines = [
        {"input": "user\n0+0=?\nassistant\n", "output": text, "score": value, "step": 1, "uid": f"u_{index}_0"}
        for index, (text, value) in enumerate([("1+2", 1.0), ("1+3", 0.0), ("so", 0.0)])
    ]
    stored = tmp_path / "1.jsonl"
    stored.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert run(toy.model, toy.train, "--from", stored, "--out", tmp_path / "out", "--json", "--lr", "1e-3") == 0
    (result,) = results(tmp_path / "out")["results"]
    assert result["name"] == "1/u"
    assert result["success_rate"] == pytest.approx(1 / 3)
    assert result["wrong_tokens"] == len("1+3") + 1 + len("so") + 1


def test_no_mixed_group(toy: ToyPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(toy.model, toy.train, "--reward", f"{toy.reward}:none_right", "--out", out, *OPTIONS) == 1
    assert "no mixed group" in capsys.readouterr().err
    assert not (out / "probe.json").exists()


@pytest.mark.parametrize("case", ["columns", "no file", "no parquet", "data source", "reward", "no data", "no model"])
def test_bad_data_leaves_nothing(case: str, toy: ToyPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, reward, complaint = toy.train, toy.reward, ""
    if case == "columns":
        data, complaint = tmp_path / "data.parquet", "lacks the column(s) reward_model"
        pd.read_parquet(toy.train).drop(columns="reward_model").to_parquet(data)
    elif case == "no file":
        data, complaint = tmp_path / "none.parquet", "does not exist"
    elif case == "no parquet":
        data, complaint = toy.reward, "cannot be read as parquet"
    elif case == "reward":
        reward, complaint = f"{toy.reward}:scores", "has no function 'scores'"
    elif case == "data source":
        assert run(toy.model, data, "--out", tmp_path / "out", *OPTIONS) == 1
        assert "does not handle data_source='toy_addition'" in capsys.readouterr().err
        assert not (tmp_path / "out" / "probe.json").exists()
        return
    elif case == "no data":
        assert run(toy.model, "--out", tmp_path / "out") == 1
        assert "DATA is missing" in capsys.readouterr().err
        return
    elif case == "no model":
        assert run("--out", tmp_path / "out") == 1
        assert "MODEL is missing" in capsys.readouterr().err
        return
    assert run(toy.model, data, "--reward", reward, "--out", tmp_path / "out", *OPTIONS) == 1
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_without_lm_head(toy: ToyPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(tmp_path / "headless")
    make_model(tokenizer).model.save_pretrained(tmp_path / "headless")
    out = tmp_path / "out"
    assert run(tmp_path / "headless", toy.train, "--reward", toy.reward, "--out", out, *OPTIONS) == 1
    assert "lm_head" in capsys.readouterr().err
    assert not (out / "probe.json").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--responses", "1"], "at least 2 responses"),
        (["--eta", "half"], "--eta"),
        (["--eta", "2"], "number in \\[0, 1\\]"),
        (["--beta", "nan"], "real number"),
        (["--lr", "0"], "not a positive number"),
        (["--optimizer", "lion"], "lion"),
    ],
)
def test_wrong_arguments_end_with_2(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run("model", "data", *arguments)
    assert stop.value.code == 2
    assert re.search(complaint, capsys.readouterr().err)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_toy_shows_the_effect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--toy", "--groups", "30", "--out", tmp_path / "out", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["groups"] == 30
    mean = {name: variant["mean_delta"] for name, variant in summary["variants"].items()}
    assert mean["pos_only"] > mean["nthr"] > mean["grpo"]
    assert summary["nthr_beats_grpo"] > 0.6
