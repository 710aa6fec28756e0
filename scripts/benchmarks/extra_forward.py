"""The same scores by a second forward pass, as a fork without a hook in verl's own pass gets them.

After the log-prob pass the model runs once more over all rows, with ``output_hidden_states``. The rest favours this
way: it takes log π from the first pass, and uses the same maths.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from benchmarks.scoring import Scoring
from benchmarks.step import TEMPERATURE, Batch, jagged, pass_data, plain_pass


@torch.no_grad()
def plain_and_extra_forward(engine: Any, batch: Batch, max_token_len: int) -> Tensor:
    """verl's pass and a second forward: scores [B, response length], jagged."""
    log_probs = plain_pass(engine, batch, max_token_len)["log_probs"]
    with engine.eval_mode():
        hidden, label_logits = _second_forward(engine, batch, max_token_len)
        weight = engine.module.get_output_embeddings().weight.detach()
        weight = weight.full_tensor() if hasattr(weight, "full_tensor") else weight
    lengths = torch.tensor([len(ids) for ids in batch.responses])
    rows = zip(log_probs.unbind(), lengths.tolist(), strict=True)
    log_probs = torch.cat([row[-length - 1 : -1] for row, length in rows]).to(hidden.device).float()
    scores, _ = Scoring(
        hidden=hidden,
        token_ids=torch.cat(batch.responses).to(hidden.device),
        log_probs=log_probs,
        log_normalizer=label_logits - log_probs,
        response=torch.repeat_interleave(lengths).to(hidden.device),
        group=torch.tensor(batch.group, device=hidden.device),
        correct=torch.tensor(batch.correct, device=hidden.device),
        unembedding=weight,
    ).scores()
    return jagged(scores.cpu().split(lengths.tolist()))


def _second_forward(engine: Any, batch: Batch, max_token_len: int) -> tuple[Tensor, Tensor]:
    """Hidden states [T, D] that predict the response tokens, row by row, and their logits/temperature [T] float32."""
    from verl.utils.device import get_device_id
    from verl.workers.engine.utils import prepare_micro_batches

    micro_batches, rows_of = prepare_micro_batches(
        pass_data(batch, max_token_len), dp_group=engine.get_data_parallel_group(), same_micro_num_in_dp=True
    )
    hidden: dict[int, Tensor] = {}
    logits: dict[int, Tensor] = {}
    dtype = engine._autocast_dtype
    for micro_batch, rows in zip(micro_batches, rows_of, strict=True):
        micro_batch = micro_batch.to(get_device_id())
        inputs, _ = engine.prepare_model_inputs(micro_batch)
        device = inputs["input_ids"].device
        # as in verl's forward_step
        with nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype):
            output = engine.module(**inputs, use_cache=False, output_hidden_states=True)
        for row, end in zip(rows, micro_batch["input_ids"].offsets()[1:].tolist(), strict=True):
            ids = batch.responses[row].to(device)
            places = slice(end - len(ids) - 1, end - 1)
            hidden[row] = output.hidden_states[-1][0, places].clone()
            logits[row] = output.logits[0, places].gather(1, ids[:, None])[:, 0]
    in_order = range(len(batch.responses))
    label_logits = torch.cat([logits[row] for row in in_order])
    return torch.cat([hidden[row] for row in in_order]), (label_logits / TEMPERATURE).float()
