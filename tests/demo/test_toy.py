"""Model, tokenizer and data files of the demo, as verl and transformers read them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from verl_nthr.demo import warm_up
from verl_nthr.demo.arithmetic import FOUR_DIGITS, THREE_DIGITS, Addition, Task, draw_splits
from verl_nthr.demo.settings import MAX_PROMPT_TOKENS
from verl_nthr.demo.toy import write_data, write_model
from verl_nthr.demo.toy_model import CHARACTERS, make_model, make_tokenizer
from verl_nthr.errors import InputError


def test_tokenizer_round_trip(tmp_path: Path) -> None:
    make_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}', encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = Addition(345, 678).worked_solution + CHARACTERS
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == text
    assert len(tokenizer.encode("\n")) == 1
    assert tokenizer.get_vocab() == make_tokenizer().get_vocab()


def test_chat_template() -> None:
    tokenizer = make_tokenizer()
    messages = [{"role": "user", "content": "345+678=?"}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert text == "<|im_start|>user\n345+678=?<|im_end|>\n<|im_start|>assistant\n"
    ids = warm_up.encode_prompt(tokenizer, Addition(345, 678))
    assert tokenizer.decode(ids) == text
    assert ids.count(tokenizer.eos_token_id) == 1
    assert len(ids) <= MAX_PROMPT_TOKENS


@pytest.mark.parametrize(("task", "largest"), [(THREE_DIGITS, 999), (FOUR_DIGITS, 9999)])
def test_the_longest_solution_fits(task: Task, largest: int) -> None:
    longest = Addition(largest, largest).worked_solution
    assert len(make_tokenizer().encode(longest)) + 1 <= task.max_response_tokens


def test_the_model_has_exactly_the_tokenizers_tokens_and_depends_on_the_seed() -> None:
    tokenizer = make_tokenizer()
    one, again, other = (make_model(tokenizer, seed).state_dict() for seed in (1, 1, 2))
    assert one["lm_head.weight"].shape[0] == len(tokenizer)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["lm_head.weight"], other["lm_head.weight"])


def test_data_files(tmp_path: Path) -> None:
    toy, splits = write_data(tmp_path, seed=4, train_prompts=64)
    train, unseen = pd.read_parquet(toy.train), pd.read_parquet(toy.unseen)
    assert (len(train), len(unseen)) == (64, len(splits.unseen))
    assert set(train.columns) == {"data_source", "prompt", "ability", "reward_model", "extra_info"}
    prompts = [{row["content"] for prompt in frame["prompt"] for row in prompt} for frame in (train, unseen)]
    assert not prompts[0] & prompts[1]
    for prompt, reward in zip(train["prompt"], train["reward_model"], strict=True):
        left, right = prompt[0]["content"].removesuffix("=?").split("+")
        assert reward == {"style": "rule", "ground_truth": str(int(left) + int(right))}
        assert prompt[0]["role"] == "user"


@pytest.fixture
def short_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accuracies as if measured: 0.02, 0.2, too high, then in the band."""
    measured = iter([0.02, 0.2, 0.9, 0.45])
    monkeypatch.setattr(warm_up, "greedy_accuracy", lambda *_: next(measured))
    monkeypatch.setattr(warm_up, "COARSE_STEPS", 2)
    monkeypatch.setattr(warm_up, "FINE_STEPS", 1)
    monkeypatch.setattr(warm_up, "BATCH_SIZE", 4)


@pytest.mark.usefixtures("short_warm_up")
def test_the_warm_up_undoes_what_overshoots(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, 0)
    reports: list[warm_up.Progress] = []
    weights: list[torch.Tensor] = []
    learning_rates: list[float] = []
    step = torch.optim.AdamW.step

    def recording_step(optimizer: torch.optim.AdamW) -> None:
        weights.append(model.lm_head.weight.detach().clone())
        learning_rates.append(optimizer.param_groups[0]["lr"])
        step(optimizer)

    monkeypatch.setattr(torch.optim.AdamW, "step", recording_step)
    last = warm_up.warm_up(model, tokenizer, THREE_DIGITS, [], set(), 0, reports.append)
    assert [(r.step, r.accuracy) for r in reports] == [(2, 0.02), (4, 0.2), (5, 0.9), (6, 0.45)]
    assert last == reports[-1]
    assert torch.equal(weights[4], weights[5])
    assert not torch.equal(weights[3], weights[4])
    assert learning_rates[5] / learning_rates[4] == pytest.approx(6 / 5 / 2)


def test_a_warm_up_that_never_gets_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_up, "greedy_accuracy", lambda *_: 0.0)
    monkeypatch.setattr(warm_up, "COARSE_STEPS", 1)
    monkeypatch.setattr(warm_up, "MAX_STEPS", 2)
    monkeypatch.setattr(warm_up, "BATCH_SIZE", 2)
    tokenizer = make_tokenizer()
    with pytest.raises(InputError, match=r"after 2 .* --seed"):
        warm_up.warm_up(make_model(tokenizer, 0), tokenizer, THREE_DIGITS, [], set(), 0, lambda _: None)


def test_greedy_accuracy_counts_correct_final_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, 0)
    additions = [Addition(100, 200), Addition(111, 222), Addition(345, 678), Addition(500, 500)]
    responses = ["so 300", "so 334", "5+8+0=13\nso 1023", "so 1000 "]

    def generate(input_ids: torch.Tensor, **_: object) -> torch.Tensor:
        pad = torch.nn.utils.rnn.pad_sequence
        encoded = [torch.tensor([*tokenizer.encode(text), tokenizer.eos_token_id]) for text in responses]
        return torch.cat([input_ids, pad(encoded, batch_first=True, padding_value=tokenizer.pad_token_id)], dim=1)

    monkeypatch.setattr(model, "generate", generate)
    assert warm_up.greedy_accuracy(model, tokenizer, additions, 40) == 0.75


@pytest.mark.usefixtures("short_warm_up")
def test_the_same_seed_writes_the_same_model_and_it_loads(tmp_path: Path) -> None:
    splits = draw_splits(THREE_DIGITS, 0, 4, 4, 4)
    toy, _ = write_data(tmp_path, 0, 4)
    write_model(toy, splits, 0, lambda _: None)
    model = AutoModelForCausalLM.from_pretrained(toy.model)
    assert model.dtype == torch.float32
    assert model.config.vocab_size == len(AutoTokenizer.from_pretrained(toy.model))
