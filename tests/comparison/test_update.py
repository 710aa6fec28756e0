"""One update's ingredients: sampled batches, log-probabilities, advantages, loss."""

from __future__ import annotations

import math

import pytest
import torch

from tests.families import wrong_refusals
from verl_nthr.comparison.batch import Batch, Record, forward, sample
from verl_nthr.comparison.methods import parse_method, token_advantages
from verl_nthr.demo.arithmetic import Addition
from verl_nthr.demo.toy_model import make_model, make_tokenizer
from verl_nthr.influence import nthr_weights_reference, thr_weights_reference
from verl_nthr.integration.config.estimators import ESTIMATORS
from verl_nthr.integration.functions import advantages, policy_loss

ADDITIONS = [Addition(123, 456), Addition(100, 999), Addition(345, 678)]


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Responses of an untrained model, of which every third is called correct."""
    torch.manual_seed(0)
    drawn = sample(make_model(make_tokenizer(), 0), make_tokenizer(), ADDITIONS, 6, 12, seed=3)
    return Batch(drawn.input_ids, drawn.mask, drawn.group, torch.arange(18) % 3 == 0)


def test_a_batch_is_what_the_model_said() -> None:
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, 0)
    told = ["so 579", "so 580", "5+8", "so 1099", "so 1", "so 1099\n"]
    encoded = [[*tokenizer.encode(text), tokenizer.eos_token_id] for text in told]
    encoded[2] = encoded[2][:-1]
    width = max(map(len, encoded))

    def generate(input_ids: torch.Tensor, **_: object) -> torch.Tensor:
        padded = [row + [tokenizer.pad_token_id] * (width - len(row)) for row in encoded]
        padded[2] = encoded[2] + [tokenizer.encode("1")[0]] * (width - len(encoded[2]))
        return torch.cat([input_ids.repeat_interleave(3, 0), torch.tensor(padded)], 1)

    model.generate = generate
    found = sample(model, tokenizer, ADDITIONS[:2], 3, width, seed=0)
    assert found.correct.tolist() == [True, False, False, True, False, True]
    assert found.group.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.mask.sum(1).tolist() == [7, 7, width, 8, 5, 9]
    assert found.token_ids[0, :7].tolist() == encoded[0]


def test_the_same_seed_draws_the_same_and_leaves_the_global_generator_alone() -> None:
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, 0)
    torch.manual_seed(7)
    first, again, other = (sample(model, tokenizer, ADDITIONS, 2, 6, seed) for seed in (5, 5, 6))
    after = torch.rand(1)
    torch.manual_seed(7)
    assert torch.equal(torch.rand(1), after)
    assert torch.equal(first.input_ids, again.input_ids)
    assert not torch.equal(first.input_ids, other.input_ids)


def test_log_probs_entropy_and_states_are_the_models(batch: Batch) -> None:
    model = make_model(make_tokenizer(), 0)
    record = forward(model, batch)
    prompt = batch.input_ids.shape[1] - batch.mask.shape[1]
    for row in range(len(batch.mask)):
        length = int(batch.mask[row].sum())
        output = model(batch.input_ids[row : row + 1, : prompt + length], output_hidden_states=True)
        log_pi = output.logits[0, prompt - 1 : -1].double().log_softmax(-1)
        expected = log_pi[torch.arange(length), batch.token_ids[row, :length]]
        torch.testing.assert_close(record.log_probs[row, :length].double(), expected, rtol=1e-5, atol=1e-5)
        assert not record.log_probs[row, length:].any()
        torch.testing.assert_close(
            record.entropy[row, :length].double(), -(log_pi.exp() * log_pi).sum(-1), rtol=1e-5, atol=1e-5
        )
        torch.testing.assert_close(
            record.hidden[row, :length], output.hidden_states[-1][0, prompt - 1 : -1], rtol=1e-4, atol=1e-5
        )


def test_grpo_by_hand() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 1, 0]], dtype=torch.bool)
    found = advantages("grpo", torch.tensor([1.0, 0.0, 0.0, 1.0]), mask, torch.tensor([0, 0, 0, 1]))
    std = math.sqrt(((2 / 3) ** 2 + 2 * (1 / 3) ** 2) / 2)
    expected = torch.tensor([2 / 3, -1 / 3, -1 / 3]) / std
    torch.testing.assert_close(found[:3], expected[:, None] * mask[:3], rtol=1e-5, atol=1e-6)


def test_the_gradient_of_the_loss_is_that_of_the_policy_gradient() -> None:
    torch.manual_seed(2)
    log_probs = torch.randn(3, 4, requires_grad=True)
    mask, weights = torch.rand(3, 4) > 0.3, torch.randn(3, 4)
    policy_loss(log_probs, log_probs.detach(), weights, mask).backward()
    torch.testing.assert_close(log_probs.grad, -weights * mask / mask.sum())


def test_nthr_by_the_double_sums(batch: Batch) -> None:
    model = make_model(make_tokenizer(), 0)
    record = forward(model, batch)
    unembedding = model.lm_head.weight.detach()
    found, eased = token_advantages("nthr", batch, record, unembedding, 1)
    response = torch.arange(18).repeat_interleave(batch.mask.sum(1))
    flat = (record.hidden[batch.mask], batch.token_ids[batch.mask], response, batch.group, batch.correct)
    expected = nthr_weights_reference(*flat, unembedding)
    base, _ = token_advantages("grpo", batch, record, unembedding, 1)
    assert eased.any()
    assert torch.equal(eased[batch.mask], expected.selected)
    torch.testing.assert_close(found[batch.mask], base[batch.mask] * expected.weight.float(), rtol=1e-5, atol=1e-6)
    assert not found[~batch.mask].any()


def test_thr_by_the_double_sums(batch: Batch) -> None:
    model = make_model(make_tokenizer(), 0)
    record = forward(model, batch)
    unembedding = model.lm_head.weight.detach()
    response = torch.arange(18).repeat_interleave(batch.mask.sum(1))
    flat = (record.hidden[batch.mask], batch.token_ids[batch.mask], response, batch.group, batch.correct)
    expected = thr_weights_reference(*flat, unembedding)
    found, _ = token_advantages("thr", batch, record, unembedding, 1)
    base, _ = token_advantages("grpo", batch, record, unembedding, 1)
    assert len(expected.weight.unique()) == 3
    torch.testing.assert_close(found[batch.mask], base[batch.mask] * expected.weight.float(), rtol=1e-5, atol=1e-6)


def test_random_eases_as_many_of_each_response(batch: Batch) -> None:
    model = make_model(make_tokenizer(), 0)
    record = forward(model, batch)
    unembedding = model.lm_head.weight.detach()
    _, chosen = token_advantages("nthr", batch, record, unembedding, 1)
    found, eased = token_advantages("nthr_random", batch, record, unembedding, 1)
    base, nothing = token_advantages("grpo", batch, record, unembedding, 1)
    assert torch.equal(eased.sum(1), chosen.sum(1))
    assert not torch.equal(eased, chosen)
    eta = torch.tensor(2 * abs(0.5 - 1 / 3))
    torch.testing.assert_close(found, torch.where(eased, eta * base, base))
    assert not nothing.any()


def test_pos_only_and_verls_own(batch: Batch) -> None:
    record = Record(*(torch.zeros(18, batch.mask.shape[1]),) * 3)
    base, _ = token_advantages("grpo", batch, record, torch.zeros(1, 1), 1)
    found, _ = token_advantages("pos_only", batch, record, torch.zeros(1, 1), 1)
    assert torch.equal(found > 0, batch.mask & batch.correct[:, None])
    assert torch.equal(found[batch.correct], base[batch.correct])
    assert not found[~batch.correct].any()
    rloo, _ = token_advantages("rloo", batch, record, torch.zeros(1, 1), 1)
    # r − mean of the five others: 1 − 1/5 and 0 − 2/5
    torch.testing.assert_close(rloo[0, 0], torch.tensor(0.8))
    torch.testing.assert_close(rloo[1, 0], torch.tensor(-0.4))


@pytest.mark.parametrize("method", [*ESTIMATORS, "ngrpo+nthr", "rloo+thr"])
def test_every_estimator_is_a_method(batch: Batch, method: str) -> None:
    model = make_model(make_tokenizer(), 0)
    found, _ = token_advantages(method, batch, forward(model, batch), model.lm_head.weight.detach(), 1)
    assert found.isfinite().all()
    assert found[batch.mask].any()
    assert not found[~batch.mask].any()


def test_a_pair_is_base_times_weights(batch: Batch) -> None:
    model = make_model(make_tokenizer(), 0)
    arguments = batch, forward(model, batch), model.lm_head.weight.detach(), 1
    base, _ = token_advantages("ngrpo", *arguments)
    pair, eased = token_advantages("ngrpo+nthr", *arguments)
    _, eased_of_grpo = token_advantages("nthr", *arguments)
    assert torch.equal(eased, eased_of_grpo)
    torch.testing.assert_close(pair, torch.where(eased, 2 * abs(0.5 - 1 / 3) * base, base))


def test_methods_that_drop_rows_keep_the_mean_over_the_others(batch: Batch) -> None:
    record = Record(*(torch.zeros(18, batch.mask.shape[1]),) * 3)
    found, _ = token_advantages("psr", batch, record, torch.zeros(1, 1), 1)
    kept = batch.mask & batch.correct[:, None]
    assert (found.sum() / batch.mask.sum()).item() == pytest.approx(1.0)
    assert torch.equal(found != 0, kept)


def test_methods_that_cannot_be_compared() -> None:
    methods = ("ntrh", "gae", "remax", "nthr+grpo", "grpo+nthrr")
    assert wrong_refusals(parse_method, [(method, (f"--estimators {method}",)) for method in methods]) == []
