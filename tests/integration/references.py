"""What a pass must return: Hugging Face, row by row, in this process, then the double sums in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.integration.passes import TEMPERATURE, Case, Rows
from verl_nthr import nthr_weights_reference, thr_weights_reference

HALF_SCORES = 3 * 2**-6
"""Of the largest score, against Hugging Face in bfloat16: a score has four factors, each rounded twice to 8 bits (2⁻⁵);
half as much again for the logits, which only the pass rounds: at 2⁵ by up to 2⁻⁴."""

HALF_SCORES_OF_FLOAT32 = 2**-4
"""Of the largest score, against Hugging Face in float32: as much again for the roundings of parameters and layers."""

HALF_LOG_PROBS = 2**-1
"""The models' logits reach 2⁵, where numbers in bfloat16 are 2⁻³ apart: four roundings."""


@dataclass(frozen=True)
class Forward:
    """What Hugging Face says of the tokens inside the masks of all rows, and of every response token."""

    hidden: torch.Tensor
    token_ids: torch.Tensor
    response: torch.Tensor
    unembedding: torch.Tensor
    log_probs: list[list[float]]
    """By row and response token."""
    numbers: list[list[int]]
    """By row and response token: index of the token among those inside the masks, −1 if it is outside."""


@cache
def forward(model_folder: Path, rows: Rows, vocabulary_multiple: int, dtype: torch.dtype = torch.float32) -> Forward:
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=dtype, attn_implementation="eager").eval()
    unembedding = model.get_output_embeddings().weight.detach()
    padding = -len(unembedding) % vocabulary_multiple
    hidden, token_ids, response, log_probs, numbers = [], [], [], [], []
    for i, (prompt, answer, mask) in enumerate(zip(rows.prompts, rows.responses, rows.masks, strict=True)):
        with torch.no_grad():
            output = model(torch.tensor([prompt + answer]), output_hidden_states=True)
        places = slice(len(prompt) - 1, -1)
        logits = F.pad(output.logits[0, places].float(), (0, padding))
        log_softmax = torch.log_softmax(logits / TEMPERATURE, -1)
        log_probs.append(log_softmax.gather(1, torch.tensor(answer)[:, None])[:, 0].tolist())
        numbers.append([])
        for k, inside in enumerate(mask):
            numbers[-1].append(len(token_ids) if inside else -1)
            if inside:
                hidden.append(output.hidden_states[-1][0, places][k])
                token_ids.append(answer[k])
                response.append(i)
    return Forward(
        hidden=torch.stack(hidden),
        token_ids=torch.tensor(token_ids),
        response=torch.tensor(response),
        unembedding=F.pad(unembedding, (0, 0, 0, padding)),
        log_probs=log_probs,
        numbers=numbers,
    )


@cache
def reference(
    model_folder: Path,
    rows: Rows,
    vocabulary_multiple: int,
    dtype: torch.dtype,
    vocabulary: str,
    anchor_includes_self: bool,
    length_normalised: bool,
) -> tuple[Tensor, Tensor]:
    """Scores [T] and anchors [rows] of the double sums."""
    found = forward(model_folder, rows, vocabulary_multiple, dtype)
    correct = torch.tensor(rows.correct)
    expected = (thr_weights_reference if length_normalised else nthr_weights_reference)(
        found.hidden,
        found.token_ids,
        found.response,
        torch.tensor(rows.group),
        correct,
        found.unembedding,
        temperature=TEMPERATURE,
        vocabulary=vocabulary,
        anchor_includes_self=anchor_includes_self,
    )
    # THR has the opposite sign in wrong responses
    sign = torch.where(correct[found.response], 1, -1) if length_normalised else 1
    return expected.scores * sign, expected.anchors


def check_log_probs(
    answers: Sequence[dict[str, Any]],
    models: Path,
    rows: Rows,
    case: Case,
    tolerance: float = 2e-5,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Check verl's own log-probs, so that scores are compared on passes that are right.

    Args:
        answers: of the ranks with outputs, which together hold every row once.
        models: folder of the models.
        rows: the batch.
        case: how the pass was run.
        tolerance: of a log-prob.
        dtype: in which Hugging Face runs the model.

    Raises:
        AssertionError: they are not those of Hugging Face.
    """
    log_probs = forward(models / case.model, rows, case.vocabulary_multiple, dtype).log_probs
    for found in answers:
        for place, row in enumerate(found["mine"]):
            start = len(rows.prompts[row]) - 1
            assert found["log_probs"][place][start:-1] == pytest.approx(log_probs[row], abs=tolerance)
    assert sorted(row for found in answers for row in found["mine"]) == list(range(len(rows.group)))


def check_scores(
    answers: Sequence[dict[str, Any]],
    models: Path,
    rows: Rows,
    case: Case,
    tolerance: float = 1e-5,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Check scores and anchors.

    Args:
        answers: of the ranks with outputs.
        models: folder of the models.
        rows: the batch.
        case: how the pass was run.
        tolerance: of scores and anchors, as a part of the largest score.
        dtype: in which Hugging Face runs the model.

    Raises:
        AssertionError: they are not those of the double sums.
    """
    setting = models / case.model, rows, case.vocabulary_multiple, dtype
    numbers = forward(*setting).numbers
    scores, anchors = reference(*setting, case.vocabulary, case.anchor_includes_self, case.length_normalised)
    tolerance *= float(scores.abs().max())
    for found in answers:
        for place, row in enumerate(found["mine"]):
            in_play = rows.in_play()[row]
            expected = float(anchors[row]) if in_play else math.nan
            assert found["anchors"][place] == pytest.approx(expected, abs=tolerance, nan_ok=True)
            for k, number in enumerate(numbers[row]):
                score = found["scores"][place][k]
                if number < 0 or not in_play:
                    assert score != score
                    continue
                assert score == pytest.approx(float(scores[number]), abs=tolerance)
