"""Each script on small local files: what verl's own data set reads back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from omegaconf import OmegaConf
from transformers import PreTrainedTokenizerBase
from verl.utils.dataset.rl_dataset import RLHFDataset

from data.preparation.writing import copy_to_hdfs
from tests.data.commands import prepare, read_rows, write_jsonl
from tests.data.rows import EVALUATION, GOLDEN, TRAINING
from tests.families import failures
from tests.toy import make_tokenizer
from verl_nthr.errors import InputError

BOXED = r"Please reason step by step, and put your final answer within \boxed{}."
KEPT = {"math_levels": [0, 2]}
"""By script, the indices of the rows that are kept, where these are not all."""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    return make_tokenizer()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By script or set, the file that was written."""
    folder = tmp_path_factory.mktemp("prepared")
    files = {}
    for script, rows in TRAINING.items():
        source = write_jsonl(folder / "raw" / f"{script}.jsonl", rows)
        prepare(script, "--source", source, "--local_save_dir", folder / script)
        files[script] = folder / script / "train.parquet"
    for name, rows in EVALUATION.items():
        write_jsonl(folder / "raw" / f"{name}.jsonl", rows)
        files[name] = folder / "evaluation" / name / "test.parquet"
    prepare("evaluation", "--source", folder / "raw", "--local_save_dir", folder / "evaluation")
    return files


def dataset(files: list[Path], tokenizer: PreTrainedTokenizerBase, cache: Path, **config: Any) -> RLHFDataset:
    config = {"cache_dir": str(cache), "filter_overlong_prompts_workers": 1, "max_prompt_length": 4096} | config
    return RLHFDataset([str(file) for file in files], tokenizer, OmegaConf.create(config))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    return tmp_path / "verl"


def test_the_golden_rows(prepared: dict[str, Path], tokenizer: Any, cache: Path) -> None:
    def check(name: str) -> None:
        read = dataset([prepared[name]], tokenizer, cache)
        golden, raw = GOLDEN[name], (TRAINING | EVALUATION)[name]
        assert [row["extra_info"]["index"] for row in read.dataframe] == KEPT.get(name, list(range(len(raw))))
        row = read[0]
        assert (row["data_source"], row["ability"], row["index"]) == (golden.data_source, "math", 0)
        assert row["reward_model"] == {"style": "rule", "ground_truth": golden.ground_truth}
        question = {"role": "user", "content": golden.question}
        assert row["raw_prompt"] == [{"role": "system", "content": BOXED}, question]
        assert row["extra_info"] == {
            "index": 0,
            "split": "train" if name in TRAINING else "test",
            "problem": golden.question,
            "source": golden.source,
            "level": golden.level,
            "subject": golden.subject,
        }

    assert failures(check, GOLDEN) == []


def test_verl_reads_all_files_as_one(prepared: dict[str, Path], tokenizer: Any, cache: Path) -> None:
    read = dataset(list(prepared.values()), tokenizer, cache)
    rows = sum(len(KEPT.get(name, raw)) for name, raw in (TRAINING | EVALUATION).items())
    assert len(read) == rows
    assert {row["data_source"] for row in read.dataframe} == {golden.data_source for golden in GOLDEN.values()}


def test_templates_without_a_system_message(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "aime25.jsonl", EVALUATION["aime25"])
    for template in ("qwen2.5-instruct", "llama-3.2", "deepseek-r1-distill"):
        prepare("evaluation", "--sets=aime25", "--source", source, "--local_save_dir", tmp_path, "--template", template)
        (row,) = read_rows(tmp_path / "aime25" / "test.parquet")
        assert row["prompt"] == [{"role": "user", "content": f"How many days has June?\n{BOXED}"}]


def test_the_summary_counts_tokens_as_verl_does(tmp_path: Path, tokenizer: Any, cache: Path) -> None:
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    source = write_jsonl(tmp_path / "raw.jsonl", TRAINING["gsm8k"])
    options = ("--tokenizer", tmp_path / "tokenizer", "--json", tmp_path / "summary.json")
    printed = prepare("gsm8k", "--source", source, "--local_save_dir", tmp_path, *options)
    file = tmp_path / "train.parquet"
    (summary,) = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["files"].values()
    characters = sorted(len(BOXED) + len(row["question"]) for row in TRAINING["gsm8k"])
    assert summary["prompt_characters"] == dict(
        zip(("min", "median", "p95", "p99", "max"), [characters[0]] * 2 + [characters[1]] * 3, strict=True)
    )
    assert [length for length in summary["prompt_tokens"].values() if str(length) not in printed] == []
    longest = summary["prompt_tokens"]["max"]
    assert len(dataset([file], tokenizer, cache, max_prompt_length=longest)) == 2
    assert len(dataset([file], tokenizer, cache, max_prompt_length=longest - 1)) == 1
    assert len(dataset([file], tokenizer, cache, max_prompt_length=summary["prompt_tokens"]["min"] - 1)) == 0


def test_copies_for_hdfs_keep_their_places(tmp_path: Path) -> None:
    files = [tmp_path / "saved" / name for name in ("train.parquet", "aime24/test.parquet")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(file.name, encoding="utf-8")
    for _ in range(2):
        copy_to_hdfs(files, tmp_path / "saved", f"{tmp_path}/copied/")
    assert (tmp_path / "copied" / "train.parquet").read_text(encoding="utf-8") == "train.parquet"
    assert (tmp_path / "copied" / "aime24" / "test.parquet").read_text(encoding="utf-8") == "test.parquet"


def test_a_copy_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.system", lambda _: 1)
    with pytest.raises(InputError, match=r"train\.parquet was written but not copied to --hdfs_dir hdfs://nowhere"):
        copy_to_hdfs([tmp_path / "train.parquet"], tmp_path, "hdfs://nowhere")
