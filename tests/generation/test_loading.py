"""Model folders that are damaged are named, and code that comes with one is not run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoConfig

from tests.families import wrong_refusals
from tests.toy import make_model, make_tokenizer
from verl_nthr.errors import InputError
from verl_nthr.generation.loading import load_model, load_tokenizer

CODE = """
import os
from pathlib import Path
Path(os.environ["NTHR_TEST_RAN"]).touch()
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
class Tokenizer(PreTrainedTokenizerFast): pass
class Config(Qwen2Config): pass
class Model(Qwen2ForCausalLM): pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    make_model(tokenizer).save_pretrained(tmp_path)
    return tmp_path


def test_a_damaged_tokenizer_is_named(folder: Path) -> None:
    def load(content: bytes) -> None:
        (folder / "tokenizer.json").write_bytes(content)
        load_tokenizer(str(folder))

    damaged = (b"", b"[]", b"null", b"{}", b"[" * 100_000, b"\xff" * 100)
    assert wrong_refusals(load, [(content, (f"MODEL={folder}",)) for content in damaged]) == []


def test_weights_that_are_cut_off_are_named(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"cannot be loaded as a causal language model: .*incomplete"):
        load_model(str(folder), "float32")


def add_code(folder: Path, model_type: str) -> None:
    (folder / "code_of_it.py").write_text(CODE)
    classes = {"AutoConfig": "code_of_it.Config", "AutoModelForCausalLM": "code_of_it.Model"}
    classes |= {"AutoTokenizer": ["code_of_it.Tokenizer", "code_of_it.Tokenizer"]}
    for name in ("config.json", "tokenizer_config.json"):
        config = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(config | {"model_type": model_type, "auto_map": classes}))


def test_code_of_a_model_folder_is_not_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = folder / "ran"
    monkeypatch.setenv("NTHR_TEST_RAN", str(ran))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(folder / "cache"))
    add_code(folder, "qwen2")
    load_tokenizer(str(folder))
    load_model(str(folder), "float32")
    add_code(folder, "unknown")
    with pytest.raises(InputError, match="trust_remote_code"):
        load_model(str(folder), "float32")
    assert not ran.exists()
    AutoConfig.from_pretrained(folder, trust_remote_code=True)
    assert ran.exists()
