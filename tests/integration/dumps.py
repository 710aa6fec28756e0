"""The token dump of a step against Hugging Face and the float64 double sums, which share no code with the training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from tests.integration.runs import BETA, EPSILON, TEMPERATURE
from verl_nthr import nthr_weights_reference


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a JSONL file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def load_model(folder: Path) -> PreTrainedModel:
    """A model as Hugging Face computes it, in float32."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


@dataclass(frozen=True)
class ScoredBatch:
    """The responses of a dump as the double sums take them."""

    arguments: tuple[Tensor, ...]
    """hidden, token_ids, response, group, correct, unembedding."""

    places: list[list[int]]
    """Number of every response token among those of all records, −1 where it is masked out."""

    uids: list[str]
    """Of the groups."""


def scored_batch(
    records: Sequence[dict[str, Any]],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sessions: Sequence[object] | None = None,
) -> ScoredBatch:
    """Run Hugging Face over a step's dump, and check log-probs and entropies; arguments as for :func:`check_weights`.

    Raises:
        AssertionError: log-probs or entropies are not Hugging Face's.
    """
    uids = sorted({record["uid"] for record in records})
    sessions = list(range(len(records))) if sessions is None else sessions
    numbers = {session: i for i, session in enumerate(dict.fromkeys(sessions))}
    first = {session: record for session, record in zip(reversed(sessions), reversed(records), strict=True)}
    hidden, token_ids, response, places = [], [], [], []
    for record, session in zip(records, sessions, strict=True):
        states, log_softmax = predictions(model, tokenizer, record)
        log_probs = log_softmax.gather(1, torch.tensor(record["token_ids"])[:, None])[:, 0]
        assert record["log_probs"] == pytest.approx(log_probs.tolist(), abs=1e-5)
        entropies = -(log_softmax.exp() * log_softmax).sum(dim=-1)
        assert record["entropies"] == pytest.approx(entropies.tolist(), abs=1e-5)
        inside = torch.tensor(record["mask"]).bool()
        places.append(torch.where(inside, inside.cumsum(0) - 1 + len(token_ids), -1).tolist())
        hidden.append(states[inside])
        token_ids += torch.tensor(record["token_ids"])[inside].tolist()
        response += [numbers[session]] * int(inside.sum())
    group = torch.tensor([uids.index(first[session]["uid"]) for session in numbers])
    arguments = (
        torch.cat(hidden),
        torch.tensor(token_ids),
        torch.tensor(response),
        group,
        torch.tensor([first[session]["correct"] for session in numbers]),
        model.get_output_embeddings().weight.detach(),
    )
    return ScoredBatch(arguments, places, uids)


def check_weights(
    records: Sequence[dict[str, Any]],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sessions: Sequence[object] | None = None,
) -> None:
    """Check log-probs, entropies, scores, τ and weights of a step.

    Args:
        records: the step's dump.
        model: what the step's old-log-prob pass ran on.
        tokenizer: turns the prompts back into the ids that they were decoded from.
        sessions: the session of each record, where sessions have several outputs.

    Raises:
        AssertionError: they are not those of Hugging Face and the double sums, or nothing is selected.
    """
    batch = scored_batch(records, model, tokenizer, sessions)
    expected = nthr_weights_reference(*batch.arguments, temperature=TEMPERATURE, beta=BETA)
    tolerance = 1e-4 * float(expected.scores.abs().max())
    for record, places_of_record in zip(records, batch.places, strict=True):
        of_group = batch.uids.index(record["uid"])
        in_play = 0 < float(expected.success_rate[of_group]) < 1
        assert record["success_rate"] == pytest.approx(float(expected.success_rate[of_group]))
        assert (record["tau"] is not None) == in_play
        if in_play:
            assert record["tau"] == pytest.approx(float(expected.threshold[of_group]), abs=tolerance)
        for place, score, weight in zip(places_of_record, record["scores"], record["weights"], strict=True):
            if place < 0 or not in_play:
                assert score is None
                assert weight == 1.0
                continue
            assert score == pytest.approx(float(expected.scores[place]), abs=tolerance)
            if record["advantage"] >= 0:
                assert weight == 1.0
            elif abs(score - record["tau"]) > tolerance:
                assert weight == pytest.approx(float(expected.weight[place]), abs=1e-6)
    assert int(expected.selected.sum()) > 0, "the run must put the selection to the test"


def predictions(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, record: dict[str, Any]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states [L, D] and log π [L, V] that a record's response tokens were sampled from."""
    prompt = tokenizer(record["prompt"], add_special_tokens=False).input_ids
    with torch.no_grad():
        output = model(torch.tensor([prompt + record["token_ids"]]), output_hidden_states=True)
    places = slice(len(prompt) - 1, -1)
    return output.hidden_states[-1][0, places], torch.log_softmax(output.logits[0, places] / TEMPERATURE, dim=-1)


def check_advantages(
    records: Sequence[dict[str, Any]], rewards: Sequence[float], sessions: Sequence[object] | None = None
) -> None:
    """Check that the dumped base advantage is GRPO's: the reward standardised over the sessions of the group.

    Args:
        records: the step's dump.
        rewards: of each record.
        sessions: the session of each record, where sessions have several outputs.

    Raises:
        AssertionError: it is not.
    """
    sessions = list(range(len(records))) if sessions is None else sessions
    reward_of = dict(zip(sessions, rewards, strict=True))
    for uid in {record["uid"] for record in records}:
        of_group = [session for session, record in zip(sessions, records, strict=True) if record["uid"] == uid]
        group = torch.tensor([reward_of[session] for session in dict.fromkeys(of_group)], dtype=torch.float64)
        expected = {s: float((reward_of[s] - group.mean()) / (group.std() + 1e-6)) for s in of_group}
        found = [record["advantage"] for record in records if record["uid"] == uid]
        assert found == pytest.approx([expected[session] for session in of_group], abs=1e-4)


def check_metrics(records: Sequence[dict[str, Any]], metrics: dict[str, float]) -> None:
    """Check that the step's metrics are those of its dump; raises an AssertionError where they are not."""
    wrong = [
        weight < 1
        for record in records
        for weight, score in zip(record["weights"], record["scores"], strict=True)
        if score is not None and not record["correct"] and record["advantage"] < 0
    ]
    assert metrics["nthr/eased_fraction"] == pytest.approx(sum(wrong) / len(wrong))
    rates = {record["uid"]: record["success_rate"] for record in records}
    assert metrics["nthr/mixed_group_fraction"] == pytest.approx(sum(0 < p < 1 for p in rates.values()) / len(rates))
    weighted = [
        weight * record["advantage"]
        for record in records
        for weight, inside in zip(record["weights"], record["mask"], strict=True)
        if inside
    ]
    assert metrics["critic/advantages/mean"] == pytest.approx(sum(weighted) / len(weighted), abs=1e-5)


def check_monitor(
    records: Sequence[dict[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    before: PreTrainedModel,
    after: PreTrainedModel,
    metrics: dict[str, float],
) -> None:
    """Check ``nthr/lld/*`` of a step, of which ``records`` have what was sampled and what is correct.

    Raises:
        AssertionError: they are not what the correct responses say of the models before and after the step's update.
    """
    correct = [record for record in records if record["correct"]]
    delta = torch.stack(
        [log_likelihood(after, tokenizer, record) - log_likelihood(before, tokenizer, record) for record in correct]
    )
    assert metrics["nthr/lld/delta_logp/mean"] == pytest.approx(float(delta.mean()), abs=1e-4)
    assert metrics["nthr/lld/delta_logp/p10"] == pytest.approx(float(delta.quantile(0.1)), abs=1e-4)
    assert metrics["nthr/lld/share_negative"] == pytest.approx(float((delta < 0).double().mean()))
    assert metrics["nthr/lld/share_lazy"] == pytest.approx(float((delta < EPSILON).double().mean()))
    assert delta.abs().max() > 1e-2, "the update must have moved the model"


def log_likelihood(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, record: dict[str, Any]) -> torch.Tensor:
    """Σ ln π of the tokens inside a record's mask, a float64 scalar."""
    log_softmax = predictions(model, tokenizer, record)[1].double()
    log_probs = log_softmax.gather(1, torch.tensor(record["token_ids"])[:, None])[:, 0]
    return log_probs[torch.tensor(record["mask"]).bool()].sum()
