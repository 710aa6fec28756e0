"""The command from end to end on a tiny untrained model: results, resumption, bad input."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.evaluation.cases import write_benchmark
from tests.toy import ToyPaths, make_toy
from verl_nthr.cli.main import INTERRUPTED, main
from verl_nthr.generation.prompts import read_prompts
from verl_nthr.generation.scoring import Reward

REWARD = """\
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    return {"score": float(sum(map(ord, solution_str + ground_truth)) % 3 == 0)}

async def awaited(**arguments):
    return compute_score(**arguments)

def nan(**_):
    return float("nan")
"""
SAMPLES, LONGEST = 4, 6
OPTIONS = ["--samples", SAMPLES, "--max-response-tokens", LONGEST, "--dtype", "float32"]
FILES = {"evaluation.json", "evaluation.md", "pass_at_k.png", "accuracy.png"}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> ToyPaths:
    folder = tmp_path_factory.mktemp("toy")
    paths = make_toy(folder)
    paths.reward.write_text(REWARD, encoding="utf-8")
    write_benchmark(folder / "data" / "aime24" / "test.parquet", 20)
    write_benchmark(folder / "data" / "mine.parquet", 3)
    return paths


def evaluate(toy: ToyPaths, out: Path, *options: object, models: tuple[object, ...] = ()) -> int:
    named = models or (f"toy={toy.model}@10", f"toy={toy.model}@20")
    arguments = [*named, "--data", toy.model.parent / "data", "--reward", toy.reward, "--out", out, *OPTIONS, *options]
    return main(["eval", *map(str, arguments)])


@pytest.fixture(scope="module")
def whole(toy: ToyPaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was not disturbed."""
    out = tmp_path_factory.mktemp("whole")
    assert evaluate(toy, out) == 0
    return out


def contents(out: Path) -> dict[str, bytes]:
    return {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()}


def reward(response: str, index: int) -> float:
    return float(sum(map(ord, response + str(2 * index))) % 3 == 0)


@torch.no_grad()
def greedy_response(toy: ToyPaths, index: int) -> str:
    """By the argmax of one forward a token, with neither a cache nor ``generate``."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(toy.model), AutoTokenizer.from_pretrained(toy.model)
    text = f"<|im_start|>user\n{index}+{index}=?<|im_end|>\n<|im_start|>assistant\n"
    prompt = tokenizer.encode(text, add_special_tokens=False)
    response: list[int] = []
    while len(response) < LONGEST and tokenizer.eos_token_id not in response:
        response.append(int(model(input_ids=torch.tensor([prompt + response])).logits[0, -1].argmax()))
    return tokenizer.decode(response, skip_special_tokens=True)


def test_the_numbers_are_those_of_the_responses(toy: ToyPaths, whole: Path) -> None:
    document = json.loads((whole / "evaluation.json").read_bytes())
    assert [(each["name"], each["prompts"]) for each in document["benchmarks"]] == [("aime24", 20), ("mine", 3)]
    assert [(model["name"], model["step"]) for model in document["models"]] == [("toy", 10), ("toy", 20)]
    greedy, sampled = ([], [])
    for name, prompts in (("aime24", 20), ("mine", 3)):
        _, *groups = map(json.loads, (whole / "toy@10" / f"{name}.greedy.jsonl").read_text().splitlines())
        assert [group["responses"] for group in groups] == [[greedy_response(toy, i)] for i in range(prompts)]
        found = document["models"][0]["benchmarks"][name]
        correct = sum(reward(greedy_response(toy, index), index) for index in range(prompts))
        assert found["greedy"]["correct"] == correct
        assert found["greedy"]["value"] == pytest.approx(correct / prompts)
        greedy.append(correct / prompts)

        _, *groups = map(json.loads, (whole / "toy@10" / f"{name}.sampled.jsonl").read_text().splitlines())
        hits = [sum(reward(text, index) for text in group["responses"]) for index, group in enumerate(groups)]
        assert len(hits) == prompts
        assert any(0 < each < SAMPLES for each in hits)
        assert found["sampled"]["pass_at_k"]["1"]["value"] == pytest.approx(sum(hits) / SAMPLES / prompts)
        assert found["sampled"]["pass_at_k"]["4"]["value"] == pytest.approx(sum(map(bool, hits)) / prompts)
        lengths = [length for group in groups for length in group["tokens"]]
        assert found["sampled"]["mean_tokens"] == pytest.approx(sum(lengths) / len(lengths))
        assert found["sampled"]["cut_off"] == pytest.approx(lengths.count(LONGEST) / len(lengths))
        sampled.append(sum(map(bool, hits)) / prompts)
    average = document["models"][0]["average"]
    assert average["greedy"]["value"] == pytest.approx(sum(greedy) / 2)
    assert average["pass_at_k"]["4"]["value"] == pytest.approx(sum(sampled) / 2)


def test_files_and_tables(toy: ToyPaths, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {file.name for file in whole.iterdir()} == {"toy@10", "toy@20", *FILES}
    before = contents(whole)
    assert evaluate(toy, whole, "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(before["evaluation.json"])
    assert evaluate(toy, whole) == 0
    printed = capsys.readouterr().out
    for expected in ("Greedy accuracy", "AIME24", "mine", "Avg.", "toy, step 20", "K=4", "evaluation.json"):
        assert expected in printed
    pngs = {name for name in before if name.endswith(".png")}
    assert all(before[name].startswith(b"\x89PNG") for name in pngs)
    assert {name: content for name, content in contents(whole).items() if name not in pngs} == {
        name: content for name, content in before.items() if name not in pngs
    }


def test_the_page_describes_every_key(whole: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8").split("\n## Files\n")[1]
    described = set(re.findall(r"\w+", " ".join(re.findall("`([^`]+)`", page))))

    def keys(value: Any) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(keys, value))
        return set(value).union(*map(keys, value.values())) if isinstance(value, dict) else set()

    document = json.loads((whole / "evaluation.json").read_bytes())
    names = {each["name"] for each in document["benchmarks"]} | {"1", "2", "4"}
    assert keys(document) - names - set(document["settings"]) <= described


def test_a_killed_run_continues_to_the_same_results(
    toy: ToyPaths, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = Reward.score
    scored: list[int] = []

    def killed(self: Reward, prompts: list[Any], responses: list[list[str]]) -> list[list[float]]:
        # of 20 greedy, 16 and 4 sampled, 3 greedy and 3 sampled for the first model, 20 and 16 for the second
        if len(scored) == 7:
            raise KeyboardInterrupt
        return counted(self, prompts, responses)

    def counted(self: Reward, prompts: list[Any], responses: list[list[str]]) -> list[list[float]]:
        scored.append(len(prompts))
        return score(self, prompts, responses)

    out = tmp_path / "out"
    monkeypatch.setattr(Reward, "score", killed)
    assert evaluate(toy, out) == INTERRUPTED
    assert not FILES & {file.name for file in out.iterdir()}
    # a kill in the middle of a line, and of the first line of a file
    cut = out / "toy@20" / "aime24.sampled.jsonl"
    lines = cut.read_bytes().splitlines(keepends=True)
    cut.write_bytes(b"".join(lines[:5]) + lines[5][:20])
    (out / "toy@20" / "mine.greedy.jsonl").write_bytes(lines[0][:20])
    monkeypatch.setattr(Reward, "score", counted)
    assert evaluate(toy, out) == 0
    # what was finished is not generated again
    assert scored[7:] == [12, 4, 3, 3]
    assert contents(out) == contents(whole)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--seed", 1], "aime24.sampled.jsonl was made with seed=0; pass another --out"),
        (["--temperature", 0.5, "--samples", 8], "made with samples=4, temperature=1.0;"),
        (["--max-response-tokens", 7], "aime24.greedy.jsonl was made with max_response_tokens=6"),
        (["--dtype", "bfloat16"], "made with dtype='float32'"),
        (["--reward", "other.py"], "made with reward="),
    ],
)
def test_other_settings_are_refused(
    options: list[object],
    complaint: str,
    toy: ToyPaths,
    whole: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.py").write_text(REWARD, encoding="utf-8")
    before = contents(whole)
    assert evaluate(toy, whole, *options) == 1
    assert complaint in capsys.readouterr().err
    assert contents(whole) == before


def test_changed_files_are_refused(toy: ToyPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, reward = write_benchmark(tmp_path / "mine.parquet", 2), tmp_path / "reward.py"
    reward.write_text(REWARD, encoding="utf-8")
    arguments = ["eval", toy.model, "--data", data, "--reward", reward, "--out", tmp_path / "out", *OPTIONS[2:]]
    assert main(list(map(str, arguments))) == 0
    assert not (tmp_path / "out" / "pass_at_k.png").exists()
    write_benchmark(tmp_path / "mine.parquet", 3)
    reward.write_text(REWARD.replace("3", "2"), encoding="utf-8")
    assert main(list(map(str, arguments))) == 1
    assert re.search(r"made with data_sha256='\w+', reward_sha256='\w+'; pass", capsys.readouterr().err)


def test_a_reward_function_that_is_awaited(toy: ToyPaths, whole: Path, tmp_path: Path) -> None:
    assert evaluate(toy, tmp_path, "--reward", f"{toy.reward}:awaited") == 0
    results = [json.loads((out / "evaluation.json").read_bytes())["models"] for out in (tmp_path, whole)]
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "case", ["columns", "data source", "no model", "no function", "nan", "too long", "k", "k alone", "no parquet"]
)
def test_bad_input_loads_and_leaves_nothing(
    case: str, toy: ToyPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("verl_nthr.evaluation.run.load_model", lambda *_: pytest.fail("a model was loaded"))
    model, data, reward, options = toy.model, toy.test, str(toy.reward), []
    if case == "columns":
        data, complaint = tmp_path / "bad.parquet", "lacks the column(s) reward_model"
        pd.read_parquet(toy.test).drop(columns="reward_model").to_parquet(data)
    elif case == "data source":
        reward, complaint = None, "does not handle data_source='toy_addition'"
    elif case == "no model":
        model, complaint = tmp_path / "model", "is not a folder"
    elif case == "no function":
        reward, complaint = f"{toy.reward}:scores", "has no function 'scores'"
    elif case == "nan":
        reward, complaint = f"{toy.reward}:nan", "returned nan"
    elif case == "too long":
        # a character is a token: 19 of the template and 7 of "96+24=?"
        options, complaint = ["--max-response-tokens", 231], "(26 tokens) that is more than the 256 positions"
    elif case == "k":
        options, complaint = ["--samples", 2, "--k", 4], "--k 4 is larger than --samples 2"
    elif case == "k alone":
        options, complaint = ["--k", 4], "--k 4 is larger than --samples 0"
    else:
        data, complaint = toy.reward, "cannot be read as parquet"
    arguments = ["eval", model, "--data", data, "--out", tmp_path / "out", "--dtype", "float32", *options]
    arguments += ["--reward", reward] if reward else []
    arguments += ["--max-response-tokens", 6] if case != "too long" else []
    assert main(list(map(str, arguments))) == 1
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_default_reward_is_that_of_verl(tmp_path: Path) -> None:
    gsm8k = read_prompts(write_benchmark(tmp_path / "gsm8k.parquet", 4, "openai/gsm8k"))
    assert Reward(None).score(gsm8k, [["#### 0", "0"], ["#### 2"], ["#### 5", "#### 4"], ["#### 6"]]) == [
        [1.0, 0.0],
        [1.0],
        [0.0, 1.0],
        [1.0],
    ]
    assert math.isfinite(Reward(None).score(gsm8k, [[""]] * 4)[0][0])


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_vllm_gives_the_same_greedy_accuracy(toy: ToyPaths, whole: Path, tmp_path: Path) -> None:
    model = f"toy={toy.model}@10"
    assert evaluate(toy, tmp_path, "--sampler", "vllm", models=(model,)) == 0
    for name in ("aime24", "mine"):
        (_, *theirs), (_, *ours) = (
            (out / "toy@10" / f"{name}.greedy.jsonl").read_text().splitlines() for out in (tmp_path, whole)
        )
        assert theirs == ours
        _, *sampled = map(json.loads, (tmp_path / "toy@10" / f"{name}.sampled.jsonl").read_text().splitlines())
        assert all(len(set(group["responses"])) == SAMPLES for group in sampled)
    document = json.loads((tmp_path / "evaluation.json").read_bytes())
    assert document["settings"]["sampler"] == "vllm"
