"""From hidden states in bfloat16 on, everything is summed in float32.

The reference takes the hidden states and log-probs of the pass itself, so that only the sums can differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.integration.coverage import parameters
from tests.integration.fsdp import build_engine
from tests.integration.joining import score
from tests.integration.passes import TEMPERATURE, Case, make_rows
from tests.processes import run_ranks
from verl_nthr.influence.cross_moments import CrossMoments
from verl_nthr.influence.phases import Phases

ROWS = make_rows(0, vocab_size=70)
CASES = [
    Case("fsdp2", packed=True, dynamic=False, dtype="bf16", micro_batch_size=12),
    Case("fsdp", packed=True, dynamic=False, dtype="bf16", stored_dtype="bf16", tied=True, micro_batch_size=12),
    Case("fsdp2", packed=True, dynamic=False, dtype="bf16", tied=True, fused=True, micro_batch_size=12),
]


@contextmanager
def moments_in_bfloat16() -> Iterator[None]:
    """M⁺ is rounded."""
    accumulate = Phases.accumulate

    def rounded(self: Phases, groups: range) -> CrossMoments:
        moments = accumulate(self, groups)
        moments.rows_ND.copy_(moments.rows_ND.bfloat16())
        return moments

    with mock.patch.object(Phases, "accumulate", rounded):
        yield


def run_observed(rank: int, models: str, cases: list[Case]) -> list[dict[str, Any]]:
    """For every case the last hidden states of all positions, and the answers without and with sums in bfloat16."""
    results = []
    for case in cases:
        engine, hidden = build_engine(models, case), []
        norm = next(module for name, module in engine.module.named_modules() if name.endswith("model.norm"))
        norm.register_forward_hook(lambda module, args, output, hidden=hidden: hidden.append(output))
        answers = []
        for mutation in (nullcontext(), moments_in_bfloat16()):
            with mutation:
                answers.append(score(engine, ROWS, list(range(len(ROWS.group))), case))
        assert {states.dtype for states in hidden} == {torch.bfloat16}
        results.append({"hidden": hidden[0][0].float().numpy(), "answers": answers})
    return results


def expected_scores(hidden: Tensor, log_probs: list[list[float]], unembedding: Tensor, case: Case) -> dict[Any, float]:
    """By row and token, the double sum of Eq. 7 in float64, with log Z = h·W_y/T − log π.

    log π is verl's where verl has it in float32, else that of the model's logits in float32.

    Args:
        hidden: [positions, D], of all rows one after the other.
        log_probs: by row and position.
        unembedding: [V, D].
        case: how the pass was run.
    """
    tokens: list[tuple[int, int, int, int, float]] = []
    first = 0
    for row, (prompt, response, mask) in enumerate(zip(ROWS.prompts, ROWS.responses, ROWS.masks, strict=True)):
        for k, (token, inside) in enumerate(zip(response, mask, strict=True)):
            place = len(prompt) - 1 + k
            if inside and ROWS.in_play()[row]:
                tokens.append((row, k, first + place, token, log_probs[row][place]))
        first += len(prompt) + len(response)
    expected = {}
    for group in {ROWS.group[row] for row, *_ in tokens}:
        members = [token for token in tokens if ROWS.group[token[0]] == group]
        rows, places, ids, log_pi = (torch.tensor([token[i] for token in members]) for i in (0, 2, 3, 4))
        h = hidden[places].double()
        vocabulary = ids.unique()
        if not case.fused:
            logits = F.linear(hidden[places].bfloat16(), unembedding).float()
            log_pi = torch.log_softmax(logits / TEMPERATURE, -1).gather(1, ids[:, None])[:, 0]
        log_normalizer = (h * unembedding[ids].double()).sum(-1) / TEMPERATURE - log_pi
        g = -torch.exp(h @ unembedding[vocabulary].double().T / TEMPERATURE - log_normalizer[:, None])
        g[torch.arange(len(ids)), torch.searchsorted(vocabulary, ids)] = 1 - log_pi.double().exp()
        influence = (g @ g.T) * (h @ h.T)
        of_correct = torch.tensor(ROWS.correct)[rows]
        for (row, k, *_), total in zip(members, influence[:, of_correct].sum(1).tolist(), strict=True):
            expected[row, k] = total
    return expected


@pytest.fixture(scope="module")
def observed(models: Path) -> list[dict[str, Any]]:
    (results,) = run_ranks(run_observed, 1, str(models), CASES, timeout=200)
    if isinstance(results, Exception):
        raise results
    return results


@pytest.mark.parametrize("index", parameters(CASES))
def test_sums_are_taken_in_float32(observed: list[dict[str, Any]], models: Path, index: int) -> None:
    case, found = CASES[index], observed[index]
    model = AutoModelForCausalLM.from_pretrained(models / case.model, dtype=torch.bfloat16)
    unembedding = model.get_output_embeddings().weight.detach()
    right, mutated = found["answers"]
    expected = expected_scores(torch.from_numpy(found["hidden"]), right["log_probs"], unembedding, case)
    largest = max(map(abs, expected.values()))

    def error(answers: dict[str, Any]) -> float:
        return max(abs(answers["scores"][row][k] - value) for (row, k), value in expected.items()) / largest

    assert error(right) < 1e-5
    assert error(mutated) > 1e-4, "the comparison must notice sums in bfloat16"
