"""Token dump (``algorithm.nthr.token_dump_dir``): one JSON line per response, with score and weight of every token."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from verl_nthr.influence.selection import penalty_factor
from verl_nthr.integration.driver.groups import Groups
from verl_nthr.integration.driver.sessions import parse_key
from verl_nthr.integration.protocol import SCORE

if TYPE_CHECKING:
    from tensordict import TensorDict
    from transformers import PreTrainedTokenizerBase

SCHEMA = 2
THRESHOLD = "threshold"
"""Name of τ [B], which the driver adds to the columns."""

COLUMNS = (
    "prompts",
    "responses",
    "response_mask",
    "rm_scores",
    "old_log_probs",
    "entropy",
    "returns",
    SCORE,
    THRESHOLD,
)


def write_step(folder: str | Path, step: int, records: Iterator[dict[str, Any]], *, append: bool = False) -> Path:
    """Write ``<folder>/<step>.jsonl``, one strict JSON object per line, whole or not at all; links are not followed.

    Args:
        folder: made if it does not exist.
        step: the training step.
        records: of a step, or of one of its updates.
        append: keep the records of the step's earlier updates.
    """
    path = Path(folder) / f"{step}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".jsonl.part")
    partial.unlink(missing_ok=True)
    if append:
        shutil.copyfile(path, partial)
    # a lone surrogate, which UTF-8 does not have, is written as JSON's own escape
    with partial.open("a" if append else "x", encoding="utf-8", errors="backslashreplace") as lines:
        for record in records:
            lines.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
    os.replace(partial, path)
    return path


def response_records(
    step: int,
    keys: list[str],
    columns: TensorDict,
    weights: Sequence[Tensor],
    groups: Groups,
    eta: str | float | None,
    tokenizer: PreTrainedTokenizerBase,
) -> Iterator[dict[str, Any]]:
    """Yield the records of a step, group by group, without padding rows and groups with a non-finite reward.

    Args:
        step: the training step.
        keys: B TransferQueue keys.
        columns: :data:`COLUMNS` of the same rows; ``returns`` are the base advantages.
        weights: B tensors [response length].
        groups: the batch's groups.
        eta: option ``eta``, None for a weighting without it.
        tokenizer: decodes prompts, responses and single tokens.
    """
    factor = None if eta is None else penalty_factor(eta, groups.success_rate)
    jagged = {name: columns[name].unbind() for name in COLUMNS if name != THRESHOLD}
    indices: dict[str, int] = {}
    for row in sorted(range(len(keys)), key=lambda row: parse_key(keys[row])):
        if math.isnan(float(groups.success_rate[row])):
            continue
        uid, *_ = parse_key(keys[row])
        indices[uid] = indices.get(uid, -1) + 1
        token_ids, mask = jagged["responses"][row].tolist(), jagged["response_mask"][row].int().tolist()
        mixed = int(groups.response[row]) >= 0
        yield {
            "schema": SCHEMA,
            "step": step,
            "uid": uid,
            "response_index": indices[uid],
            "prompt": tokenizer.decode(jagged["prompts"][row].tolist()),
            "response": tokenizer.decode(token_ids),
            "tokens": [tokenizer.decode([token]) for token in token_ids],
            "token_ids": token_ids,
            "mask": mask,
            "log_probs": _numbers(jagged["old_log_probs"][row]),
            "entropies": _numbers(jagged["entropy"][row]),
            "scores": _numbers(jagged[SCORE][row]),
            "weights": _numbers(weights[row]),
            "reward": _number(float(jagged["rm_scores"][row].sum())),
            "correct": bool(groups.row_correct[row]),
            "advantage": _number(_advantage(jagged["returns"][row].tolist(), mask)),
            "tau": _number(float(columns[THRESHOLD][row])) if mixed else None,
            "eta": _number(float(factor[row])) if mixed and factor is not None else None,
            "success_rate": _number(float(groups.success_rate[row])),
        }


def _advantage(values: list[float], mask: list[int]) -> float:
    return next((value for value, inside in zip(values, mask, strict=True) if inside), 0.0)


def _numbers(values: Tensor) -> list[float | None]:
    return [_number(value) for value in values.tolist()]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
