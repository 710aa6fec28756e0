"""Responses from transformers and from vLLM's process; the latter with a stand-in for vLLM."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
import torch
from transformers import GenerationConfig

from tests.probe.cases import tiny_model
from tests.toy import make_tokenizer
from verl_nthr.errors import InputError
from verl_nthr.generation.sampler import Decoding, choose_sampler
from verl_nthr.generation.transformers_sampler import TransformersSampler
from verl_nthr.generation.vllm_sampler import VLLMSampler

STAND_IN = """\
import multiprocessing
import time
from types import SimpleNamespace as Box

class SamplingParams:
    def __init__(self, **options):
        self.options = options

class LLM:
    def __init__(self, model, dtype, generation_config, enforce_eager):
        if model == "broken":
            raise RuntimeError("no such model")
        assert (model, dtype, generation_config) == ("some/model", "float32", "vllm")
        # as vLLM's engine: no daemon, and ended at exit or by shutdown
        core = multiprocessing.Process(target=time.sleep, args=(100,))
        core.start()
        self.llm_engine = Box(engine_core=Box(shutdown=core.terminate))

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
    decoding = Decoding(responses=4000, temperature=0.7, max_response_tokens=1)
    state = torch.get_rng_state()
    sampled = TransformersSampler(model, tokenizer)(prompts, decoding, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    for prompt, responses in zip(prompts, sampled, strict=True):
        with torch.no_grad():
            expected = torch.softmax(model(input_ids=torch.tensor([prompt])).logits[0, -1] / 0.7, -1)
        counts = torch.bincount(torch.tensor(responses)[:, 0], minlength=len(expected))
        assert (counts / 4000 - expected).abs().max() < 0.03
    assert TransformersSampler(model, tokenizer)(prompts, decoding, seed=3) == sampled


def test_responses_end_at_the_end_of_sequence() -> None:
    tokenizer = make_tokenizer()
    decoding = Decoding(responses=200, temperature=3.0, max_response_tokens=12)
    (responses,) = TransformersSampler(tiny_model(scale=1.0), tokenizer)([[5, 6]], decoding, seed=0)
    ended = [response for response in responses if tokenizer.eos_token_id in response]
    assert 0 < len(ended) < 200
    assert all(response.index(tokenizer.eos_token_id) == len(response) - 1 for response in ended)
    assert all(len(response) == 12 for response in responses if response not in ended)


def test_vllm_runs_in_its_own_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vllm.py").write_text(STAND_IN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    decoding = Decoding(responses=2, temperature=1.0, max_response_tokens=9)
    begin = time.monotonic()
    with VLLMSampler("some/model", "float32") as sample:
        responses = sample([[1, 2], [3]], decoding, seed=50)
        assert sample([[1, 2], [3]], decoding, seed=50) == responses
        other = sample([[1, 2]], decoding, seed=51)
    assert time.monotonic() - begin < 90
    seeds = [each[0][-3] for each in (*responses, *other)]
    assert responses == [[[1, 2, seeds[0], 9, 0], [1, 2, seeds[0], 9, 1]], [[3, seeds[1], 9, 0], [3, seeds[1], 9, 1]]]
    # vLLM adds a response's number to the seed
    assert min(abs(a - b) for a, b in itertools.combinations(seeds, 2)) > 256
    with VLLMSampler("broken", "float32") as sample, pytest.raises(InputError, match="vLLM ended"):
        sample([[1, 2]], decoding, seed=0)


def test_greedy_takes_the_most_likely_token() -> None:
    model = tiny_model(scale=2.0)
    prompts = [[5, 6, 7], [9, 8]]
    responses = TransformersSampler(model, make_tokenizer())(prompts, Decoding(1, 0.0, 4), seed=0)
    for prompt, (response,) in zip(prompts, responses, strict=True):
        for length, token in enumerate(response):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([prompt + response[:length]])).logits[0, -1]
            assert token == int(logits.argmax())


def test_choice_of_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choose_sampler("auto") == "transformers"
    with pytest.raises(InputError, match="vLLM is not installed"):
        choose_sampler("vllm")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert choose_sampler("auto") == "vllm"
    assert choose_sampler("transformers") == "transformers"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_sampler("auto") == "transformers"
