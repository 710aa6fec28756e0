"""The same scores by a second forward pass, as a fork without a hook in verl's own pass gets them.

After the log-prob pass the model runs once more over the mixed groups, with ``output_hidden_states``. Everything else
is in this way's favour: it takes log π from the first pass, the weights as they are, and the same maths.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from benchmarks.passes import TEMPERATURE, Pass, jagged, pass_data
from verl_nthr.influence.features import OutputRows, TokenFeatures
from verl_nthr.influence.scores import influence_scores
from verl_nthr.influence.sharding import Sharding
from verl_nthr.influence.vocabulary import GroupVocabulary, vocabulary_keys


@torch.no_grad()
def plain_and_extra_forward(scoring: Pass) -> Tensor:
    """verl's pass and a second forward of all groups, which are mixed: scores [B, response length], jagged."""
    engine, batch = scoring.engine, scoring.batch
    log_probs = scoring.plain()["log_probs"]
    with engine.eval_mode():
        hidden, label_logits = _second_forward(scoring)
        weight = engine.module.get_output_embeddings().weight.detach()
        weight = weight.full_tensor() if hasattr(weight, "full_tensor") else weight
    device = hidden.device
    lengths = torch.tensor([len(response) for response in batch.responses])
    row = torch.repeat_interleave(torch.arange(len(lengths)), lengths).to(device)
    group_of_row = torch.tensor(batch.group, device=device)
    group = group_of_row[row]
    token_ids = torch.cat([torch.tensor(ids) for ids in batch.responses]).to(device)
    chosen = torch.cat(
        [values[-len(ids) - 1 : -1] for values, ids in zip(log_probs.unbind(), batch.responses, strict=True)]
    )
    chosen = chosen.to(device).float()
    keys = vocabulary_keys(group, token_ids, len(weight))
    entries = torch.unique(keys % len(weight))
    features = TokenFeatures(
        hidden=hidden,
        token_ids=token_ids,
        log_probs=chosen,
        log_normalizer=label_logits - chosen,
        temperature=torch.full_like(chosen, TEMPERATURE),
        response=row,
        group=group,
    )
    scores, *_ = influence_scores(
        features,
        OutputRows(weight[entries].to(hidden.dtype), None, entries),
        GroupVocabulary.from_keys(keys, max(batch.group) + 1, len(weight)),
        group_of_row,
        torch.tensor(batch.correct, device=device),
        Sharding(),
    )
    return jagged(list(scores.cpu().split(lengths.tolist())))


def _second_forward(scoring: Pass) -> tuple[Tensor, Tensor]:
    """Hidden states [T, D] that predict the response tokens, row by row, and their logits/temperature [T] float32."""
    from verl.utils.device import get_device_id
    from verl.workers.engine.utils import prepare_micro_batches

    engine, batch = scoring.engine, scoring.batch
    micro_batches, rows_of = prepare_micro_batches(
        pass_data(batch, scoring.max_token_len), dp_group=engine.get_data_parallel_group(), same_micro_num_in_dp=True
    )
    hidden: dict[int, Tensor] = {}
    logits: dict[int, Tensor] = {}
    for micro_batch, rows in zip(micro_batches, rows_of, strict=True):
        micro_batch = micro_batch.to(get_device_id())
        inputs, _ = engine.prepare_model_inputs(micro_batch)
        with _autocast(engine, inputs["input_ids"].device):
            output = engine.module(**inputs, use_cache=False, output_hidden_states=True)
        ends = micro_batch["input_ids"].offsets()[1:].tolist()
        for row, end in zip(rows, ends, strict=True):
            ids = torch.tensor(batch.responses[row], device=output.logits.device)
            places = slice(end - len(ids) - 1, end - 1)
            hidden[row] = output.hidden_states[-1][0, places].clone()
            logits[row] = output.logits[0, places].gather(1, ids[:, None])[:, 0]
    in_order = range(len(batch.responses))
    label_logits = torch.cat([logits[row] for row in in_order])
    return torch.cat([hidden[row] for row in in_order]), (label_logits / TEMPERATURE).float()


def _autocast(engine: Any, device: torch.device) -> Any:
    """As verl's ``forward_step``."""
    dtype = engine._autocast_dtype
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)
