"""Benchmarks by their files, models by their arguments, checkpoints of verl by their folders."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest

from tests.evaluation.cases import write_benchmark
from tests.families import failures, wrong_refusals
from tests.heatmap.records import HOSTILE
from verl_nthr.errors import InputError
from verl_nthr.evaluation.benchmarks import read_benchmarks
from verl_nthr.evaluation.checkpoints import find_model, merge_command
from verl_nthr.evaluation.models import Model, parse_models
from verl_nthr.evaluation.settings import Settings
from verl_nthr.evaluation.summary import Group
from verl_nthr.generation.records import Records


def fake_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"12345678")
    return folder


def test_benchmarks_come_in_the_order_of_the_paper(tmp_path: Path) -> None:
    for name in ("zebra", "math500", "aime24"):
        write_benchmark(tmp_path / name / "test.parquet", 2)
    alone = write_benchmark(tmp_path / "elsewhere" / "mine.parquet", 3)
    found = read_benchmarks([alone, tmp_path / "zebra", tmp_path / "math500", tmp_path / "aime24" / "test.parquet"])
    assert [each.title for each in found] == ["AIME24", "MATH500", "mine", "zebra"]
    assert [len(each.prompts) for each in found] == [2, 2, 3, 2]


def test_a_file_of_several_data_sources(tmp_path: Path) -> None:
    first, second = (write_benchmark(tmp_path / f"{n}.parquet", n, source) for n, source in ((2, "a/b"), (3, "c")))
    both = tmp_path / "both.parquet"
    pd.concat([pd.read_parquet(first), pd.read_parquet(second)]).to_parquet(both)
    assert [(each.name, len(each.prompts)) for each in read_benchmarks([both])] == [("a_b", 2), ("c", 3)]


def check_data_source(text: str, tmp_path: Path) -> None:
    sources = [text.encode("utf-8", "replace").decode(), "c"]
    parts = [write_benchmark(tmp_path / f"{n}.parquet", 1, source) for n, source in enumerate(sources)]
    both = tmp_path / "both.parquet"
    pd.concat(map(pd.read_parquet, parts)).to_parquet(both)
    name = read_benchmarks([both])[0].name
    out = tmp_path / "out"
    records = Records(out / "model" / f"{name}.sampled.jsonl", Group, {})
    records.append(Group(responses=[text], tokens=[1], rewards=[1.0]))
    assert [path.parent for path in tmp_path.rglob("*.sampled.jsonl")] == [out / "model"]
    assert Records(out / "model" / f"{name}.sampled.jsonl", Group, {}).entries == records.entries


def test_a_data_source_is_no_path(tmp_path: Path) -> None:
    def check(text: str) -> None:
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            check_data_source(text, Path(folder))

    assert failures(check, [*HOSTILE, "../../up", "/root", "..", "x" * 1000]) == []


def test_benchmarks_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--data: .*none\.parquet does not exist"):
        read_benchmarks([tmp_path / "none.parquet"])
    with pytest.raises(InputError, match=r"--data: .* holds no parquet file"):
        read_benchmarks([tmp_path])
    empty = write_benchmark(tmp_path / "empty.parquet", 1)
    pd.read_parquet(empty).iloc[:0].to_parquet(empty)
    with pytest.raises(InputError, match=r"--data: .* has no rows"):
        read_benchmarks([empty])
    a, b = (write_benchmark(tmp_path / name / "mine.parquet", 1) for name in "ab")
    with pytest.raises(InputError, match="both the benchmark 'mine'; pass one of them"):
        read_benchmarks([a, b])


def test_models_by_their_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    base = str(fake_model(tmp_path / "base"))
    late = str(fake_model(tmp_path / "runs" / "nthr" / "global_step_40" / "merged"))
    assert parse_models([base, "start=base", "start=base@0", "runs/nthr/global_step_40", "Qwen/Qwen2.5-0.5B"]) == [
        Model("base", base, None),
        Model("start", "base", None),
        Model("start", "base", 0),
        Model("nthr", late.removeprefix(f"{tmp_path}/"), 40),
        Model("Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B", None),
    ]
    assert parse_models([f"x={late}@7", f"x={late}"]) == [Model("x", late, 7), Model("x", late, 40)]


def test_models_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner" / "runs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "inner")
    fake_model(tmp_path / "inner" / "base")
    cases = [
        (["base", "./base"], ("MODEL", "'base'", "NAME=PATH")),
        (["../base"], ("MODEL", "../base")),
        (["runs/nowhere"], ("MODEL", "runs/nowhere")),
        (["a b=base"], ("MODEL", "'a b'")),
        (["x="], ("MODEL", "'x='")),
        (["..=base"], ("MODEL", "'..'")),
        ([".=base@3"], ("MODEL", "'.'")),
        (["a\0b=base"], ("MODEL", r"'a\x00b'")),
        (["runs"], ("MODEL", "runs", "config.json")),
    ]
    assert wrong_refusals(parse_models, cases) == []


def test_new_weights_in_a_folder_are_noticed(tmp_path: Path) -> None:
    model = Model("m", str(fake_model(tmp_path / "m")), None)
    before = model.weights()
    assert before == model.weights() is not None
    os.utime(tmp_path / "m" / "model.safetensors", ns=(1, 1))
    assert model.weights() != before


@pytest.mark.parametrize("inside", ["merged", "actor/huggingface", "actor/model/huggingface"])
def test_a_checkpoint_with_a_whole_model(inside: str, tmp_path: Path) -> None:
    step = tmp_path / "global_step_3"
    (step / "actor").mkdir(parents=True)
    whole = fake_model(step / inside)
    assert find_model(str(step)) == find_model(str(step / "actor")) == str(whole)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", ["fsdp", "megatron"])
def test_shards_ask_for_the_merger(kind: str, tied: bool, tmp_path: Path) -> None:
    actor = tmp_path / "global_step_3" / "actor"
    huggingface = actor / "huggingface" if kind == "fsdp" else actor / "model" / "huggingface"
    huggingface.mkdir(parents=True)
    (huggingface / "config.json").write_text(f'{{"tie_word_embeddings": {str(tied).lower()}}}')
    if kind == "fsdp":
        (actor / "model_world_size_2_rank_0.pt").touch()
    else:
        (actor / "model" / "dist_ckpt").mkdir()
    merged = tmp_path / "global_step_3" / "merged"
    tie = ["--tie-word-embedding"] if tied and kind == "megatron" else []
    command = [sys.executable, "-m", "verl.model_merger", "merge", "--backend", kind, *tie]
    assert merge_command(actor, merged) == [*command, "--local_dir", str(actor), "--target_dir", str(merged)]
    for path in (actor, actor.parent):
        with pytest.raises(InputError, match=f"not merged; run: .* --backend {kind} .*--target_dir {merged}"):
            find_model(str(path))


def test_no_shards_no_merger(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no shards"):
        merge_command(tmp_path, tmp_path / "merged")


def test_the_values_of_k() -> None:
    cases = [
        (Settings(), []),
        (Settings(samples=1), [1]),
        (Settings(samples=8), [1, 2, 4, 8]),
        (Settings(samples=8, k=6), [1, 2, 4, 6]),
        (Settings(samples=300), [1, 2, 4, 8, 16, 32, 64, 128, 256]),
    ]
    assert [settings.ks() for settings, _ in cases] == [expected for _, expected in cases]


def test_more_than_the_samples() -> None:
    with pytest.raises(InputError, match=r"--k 8 is larger than --samples 4: .*pass --samples 8 or a smaller --k"):
        Settings(samples=4, k=8).ks()
