"""The pass of verl's real FSDP engines gives the scores that Hugging Face and the float64 double sums give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.integration.passes import TEMPERATURE, Case, Rows, make_model, make_rows, run_pass
from tests.processes import run_ranks
from verl_nthr import NTHRResult, nthr_weights_reference

CASES = [
    Case("fsdp2", packed=False, dynamic=False),
    Case("fsdp2", packed=False, dynamic=True),
    Case("fsdp2", packed=True, dynamic=True),
    Case("fsdp2", packed=True, dynamic=False, tied=True),
    Case("fsdp2", packed=False, dynamic=True, tied=True, vocabulary="full"),
    Case("fsdp2", packed=True, dynamic=True, anchor_includes_self=False),
    Case("fsdp", packed=True, dynamic=True, tied=True),
    Case("fsdp", packed=False, dynamic=False),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_model(folder / "tied", tied=True)
    make_model(folder / "untied", tied=False)
    return folder


@pytest.fixture(scope="module")
def rows() -> Rows:
    return make_rows(0, vocab_size=70)


@pytest.fixture(scope="module", params=[1, 2], ids=["1 rank", "2 ranks"])
def passes(request: pytest.FixtureRequest, models: Path, rows: Rows) -> list[list[dict[str, Any]]]:
    """Results by rank and case."""
    results = run_ranks(run_pass, request.param, str(models), rows, CASES, timeout=300)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def reference(model_folder: Path, rows: Rows, case: Case) -> tuple[NTHRResult, list[list[float]], list[list[int]]]:
    """Offline: Hugging Face, row by row, then the double sums; also log-probs [row][token] and token numbers."""
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32, attn_implementation="eager").eval()
    hidden, token_ids, response, log_probs, numbers = [], [], [], [], []
    for i, (prompt, answer, mask) in enumerate(zip(rows.prompts, rows.responses, rows.masks, strict=True)):
        with torch.no_grad():
            output = model(torch.tensor([prompt + answer]), output_hidden_states=True)
        places = slice(len(prompt) - 1, -1)
        log_softmax = torch.log_softmax(output.logits[0, places] / TEMPERATURE, -1)
        log_probs.append(log_softmax.gather(1, torch.tensor(answer)[:, None])[:, 0].tolist())
        kept = torch.tensor(mask).bool()
        numbers.append([])
        for k, inside in enumerate(kept.tolist()):
            numbers[-1].append(len(token_ids) if inside else -1)
            if inside:
                hidden.append(output.hidden_states[-1][0, places][k])
                token_ids.append(answer[k])
                response.append(i)
    result = nthr_weights_reference(
        torch.stack(hidden),
        torch.tensor(token_ids),
        torch.tensor(response),
        torch.tensor(rows.group),
        torch.tensor(rows.correct),
        model.get_output_embeddings().weight.detach(),
        temperature=TEMPERATURE,
        beta=case.beta,
        vocabulary=case.vocabulary,
        anchor_includes_self=case.anchor_includes_self,
    )
    return result, log_probs, numbers


@pytest.mark.parametrize("index", range(len(CASES)), ids=lambda index: str(CASES[index]))
def test_scores_and_weights_are_those_of_hugging_face(
    passes: list[list[dict[str, Any]]], models: Path, rows: Rows, index: int
) -> None:
    case = CASES[index]
    expected, log_probs, numbers = reference(models / ("tied" if case.tied else "untied"), rows, case)
    scale = expected.scores.abs().max()
    seen = []
    for of_rank in passes:
        found = of_rank[index]
        for place, row in enumerate(found["mine"]):
            seen.append(row)
            start = len(rows.prompts[row]) - 1
            assert found["log_probs"][place][start:-1] == pytest.approx(log_probs[row], abs=2e-5)
            in_play, tau = rows.in_play()[row], found["threshold"][place]
            if in_play:
                assert tau == pytest.approx(float(expected.threshold[rows.group[row]]), abs=1e-5 * float(scale))
            else:
                assert tau != tau
            for k, number in enumerate(numbers[row]):
                score, weight = found["scores"][place][k], found["weights"][place][k]
                if number < 0 or not in_play:
                    assert score != score
                    assert weight == 1.0
                    continue
                assert score == pytest.approx(float(expected.scores[number]), abs=1e-5 * float(scale))
                if abs(float(expected.scores[number]) - tau) > 1e-4 * float(scale):
                    assert weight == pytest.approx(float(expected.weight[number]), abs=1e-6)
    assert sorted(seen) == list(range(len(rows.group)))
    assert 0 < int(expected.selected.sum()) < len(expected.selected), "the batch must put the selection to the test"


def test_the_pass_needs_no_forward_more_and_leaves_verls_outputs_and_engine_alone(
    passes: list[list[dict[str, Any]]],
) -> None:
    for of_rank in passes:
        for found in of_rank:
            without, with_nthr = found["forwards"]
            assert without == with_nthr > 0
            assert found["plain_keys"] == ["entropy", "log_probs"]
            assert found["same_outputs"]
            assert found["left_behind"] == (False, 0)


def test_without_a_mixed_group_nothing_is_scored(passes: list[list[dict[str, Any]]]) -> None:
    for of_rank in passes:
        for found in of_rank:
            assert found["unscored"] == (True, True)
