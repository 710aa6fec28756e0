"""Responses from transformers and from vLLM's process; the latter with a stand-in for vLLM."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import GenerationConfig

from tests.probe.cases import tiny_model
from tests.toy import make_tokenizer
from verl_nthr.probe.errors import ProbeError
from verl_nthr.probe.sampling import TransformersSampler, choose_sampler
from verl_nthr.probe.settings import Settings
from verl_nthr.probe.vllm_sampler import VLLMSampler

STAND_IN = """\
from types import SimpleNamespace as Box

class SamplingParams:
    def __init__(self, **options):
        self.options = options

class LLM:
    def __init__(self, model, dtype, generation_config):
        if model == "broken":
            raise RuntimeError("no such model")
        assert (model, dtype, generation_config) == ("some/model", "float32", "vllm")

    def generate(self, prompts, parameters, use_tqdm):
        return [
            Box(outputs=[
                Box(token_ids=(*prompt["prompt_token_ids"], options["seed"], options["max_tokens"], number))
                for number in range(options["n"])
            ])
            for prompt, options in ((p, q.options) for p, q in zip(prompts, parameters, strict=True))
        ]
"""


@pytest.mark.parametrize("prompts", [[[5, 6, 7], [9, 8]], [[5, 6, 7]]])
def test_transformers_samples_the_untruncated_distribution(prompts: list[list[int]]) -> None:
    model, tokenizer = tiny_model(scale=2.0), make_tokenizer()
    model.generation_config = GenerationConfig(top_k=1, repetition_penalty=1.3, eos_token_id=tokenizer.eos_token_id)
    settings = Settings(responses=4000, max_response_tokens=1, temperature=0.7)
    state = torch.get_rng_state()
    sampled = TransformersSampler(model, tokenizer, settings)(prompts, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    for prompt, responses in zip(prompts, sampled, strict=True):
        with torch.no_grad():
            expected = torch.softmax(model(input_ids=torch.tensor([prompt])).logits[0, -1] / 0.7, -1)
        counts = torch.bincount(torch.tensor(responses)[:, 0], minlength=len(expected))
        assert (counts / 4000 - expected).abs().max() < 0.03
    assert TransformersSampler(model, tokenizer, settings)(prompts, seed=3) == sampled


def test_responses_end_at_the_end_of_sequence() -> None:
    tokenizer = make_tokenizer()
    settings = Settings(responses=200, max_response_tokens=12, temperature=3.0)
    (responses,) = TransformersSampler(tiny_model(scale=1.0), tokenizer, settings)([[5, 6]], seed=0)
    ended = [response for response in responses if tokenizer.eos_token_id in response]
    assert 0 < len(ended) < 200
    assert all(response.index(tokenizer.eos_token_id) == len(response) - 1 for response in ended)
    assert all(len(response) == 12 for response in responses if response not in ended)


def test_vllm_runs_in_its_own_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vllm.py").write_text(STAND_IN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    settings = Settings(responses=2, max_response_tokens=9)
    with VLLMSampler("some/model", settings) as sample:
        assert sample([[1, 2], [3]], seed=50) == [[[1, 2, 50, 9, 0], [1, 2, 50, 9, 1]], [[3, 51, 9, 0], [3, 51, 9, 1]]]
    with VLLMSampler("broken", settings) as sample, pytest.raises(ProbeError, match="vLLM ended"):
        sample([[1, 2]], seed=0)


def test_choice_of_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choose_sampler("auto") == "transformers"
    with pytest.raises(ProbeError, match="vLLM is not installed"):
        choose_sampler("vllm")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert choose_sampler("auto") == "vllm"
    assert choose_sampler("transformers") == "transformers"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_sampler("auto") == "transformers"
