"""What an update with loss terms must come to: Hugging Face and autograd in float64, a mini-batch in one piece."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.integration.passes import TEMPERATURE
from tests.integration.updates import NORM, Run, Targets, Update
from verl_nthr.integration.config.loss_options import LossTerms

CLIP = 0.2


@cache
def reference(model_folder: Path, targets: Targets, chosen: tuple[int, ...]) -> dict[str, Any]:
    """Of the mini-batch ``chosen``: gradients of policy loss, mean NLL and LLDS by parameter, values, open gates.

    "llds_all" is LLDS over the tokens of all responses.
    """
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float64, attn_implementation="eager")
    rows = targets.rows
    # a term that is empty is a function of the model too
    zero = 0.0 * next(model.parameters()).sum()
    sums = {"policy": zero, "nll": zero, "llds": zero}
    tokens, gates = {"policy": 0, "nll": 0, "llds": 0}, []
    for i in chosen:
        prompt, answer, mask = rows.prompts[i], rows.responses[i], rows.masks[i]
        logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        log_softmax = torch.log_softmax(logits / TEMPERATURE, -1)
        log_probs = [log_softmax[k, answer[k]] for k in range(len(answer)) if mask[k]]
        old = [targets.old_log_probs[i][k] for k in range(len(answer)) if mask[k]]
        for log_prob, old_log_prob in zip(log_probs, old, strict=True):
            ratio, advantage = (log_prob - old_log_prob).exp(), targets.advantages[i]
            clipped = ratio.clamp(1 - CLIP, 1 + CLIP)
            sums["policy"] = sums["policy"] + torch.maximum(-advantage * ratio, -advantage * clipped)
        tokens["policy"] += len(old)
        if rows.correct[i]:
            sums["nll"] = sums["nll"] - sum(log_probs)
            tokens["nll"] += len(old)
        if targets.preserved[i]:
            falls = [old_log_prob - log_prob for log_prob, old_log_prob in zip(log_probs, old, strict=True)]
            tokens["llds"] += len(old)
            gates.append(sum(falls).item() > 0)
            if gates[-1]:
                sums["llds"] = sums["llds"] + sum(fall for fall in falls if fall > 0)
    values = {name: total / max(tokens[name], 1) for name, total in sums.items()}
    values["llds_all"] = sums["llds"] / tokens["policy"]
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = {}
    for name, value in values.items():
        found = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
        gradients[name] = {key: gradient.numpy() for key, gradient in zip(names, found, strict=True)}
    return {"gradients": gradients, "values": {name: value.item() for name, value in values.items()}, "gates": gates}


def check_update(
    by_rank: Sequence[Any], index: int, model_folder: Path, targets: Targets, update: Update, runs: Sequence[Run]
) -> None:
    """Check gradients, metrics and loss functions of one of the updates that all ranks have run.

    Args:
        by_rank: what each rank returned, or an error.
        index: number of the update.
        model_folder: of the model.
        targets: the batch.
        update: how it was cut.
        runs: what was run; each with terms comes after one without.

    Raises:
        AssertionError: they are not those of the formulas.
    """
    for result in by_rank:
        if isinstance(result, BaseException):
            raise result
    size = update.mini_batch // len(update.shares)
    for number in range(len(targets.advantages) // update.mini_batch):
        chosen = tuple(i for share in update.shares for i in share[number * size : (number + 1) * size])
        expected = reference(model_folder, targets, chosen)
        for result in by_rank:
            for (loss_mode, terms), run in zip(runs, result[index], strict=True):
                plain = result[index][runs.index((loss_mode, None))]
                found = run["gradients"][number]
                added = [(weight, expected["gradients"][name]) for name, weight in _parts(terms).items()]
                if loss_mode == "vanilla":
                    _check_gradients(found, [(1.0, expected["gradients"]["policy"]), *added])
                elif NORM not in found:
                    _check_gradients(found, [(1.0, plain["gradients"][number]), *added])
                if run["metrics"] is not None:
                    _check_metrics(run["metrics"], plain["metrics"], terms, expected, number)
                assert run["same_loss_function"] == (terms is None)
    assert any(run["metrics"] is not None for result in by_rank for run in result[index])


def _parts(terms: LossTerms | None) -> dict[str, float]:
    """The parts of the reference that terms add, with their coefficients."""
    if terms is None:
        return {}
    fall = "llds" if terms.llds_normalizer == "preserved" else "llds_all"
    return {"nll": terms.positive_nll_coef, fall: terms.llds_coef}


def _check_gradients(found: dict[str, Any], parts: Sequence[tuple[float, dict[str, Any]]]) -> None:
    """A gradient must be a weighted sum of others, to float32's accuracy of the largest entry of a parameter."""
    wanted = {name: sum(weight * part[name] for weight, part in parts) for name in parts[0][1]}
    if NORM in found:
        wanted = {NORM: np.sqrt(sum((gradient**2).sum() for gradient in wanted.values()))}
    assert set(found) == set(wanted)
    for name, gradient in found.items():
        assert np.abs(gradient - wanted[name]).max() <= 1e-5 * max(1.0, np.abs(wanted[name]).max()), name


def _check_metrics(
    found: dict[str, Any], plain: dict[str, Any], terms: LossTerms | None, expected: dict[str, Any], number: int
) -> None:
    """Metrics of a mini-batch: the terms asked for and no others, and a loss that has them."""
    values, wanted = expected["values"], {}
    if terms is not None and terms.positive_nll_coef:
        wanted["actor/positive_nll_loss"] = values["nll"]
    if terms is not None and terms.llds_coef:
        wanted["actor/llds_loss"] = values["llds" if terms.llds_normalizer == "preserved" else "llds_all"]
        wanted["actor/llds_active_fraction"] = float(np.mean(expected["gates"]))
    ours = {name: value[number] for name, value in found.items() if "nll" in name or "llds" in name}
    assert ours == pytest.approx(wanted, rel=1e-5)
    added = sum(weight * values[name] for name, weight in _parts(terms).items())
    assert found["loss"][number] - plain["loss"][number] == pytest.approx(added, rel=1e-4, abs=1e-6)
    assert set(found) - set(ours) == set(plain)
