"""Keeping features during a pass, without the pass."""

from __future__ import annotations

import torch

from benchmarks.passes import jagged
from benchmarks.synthetic import ScoringInput
from verl_nthr.influence.sharding import Sharding
from verl_nthr.integration.recording import Recording
from verl_nthr.integration.slots import TokenSlots

MICRO_BATCH = 4096
"""Tokens of a micro-batch."""


def record(found: ScoringInput) -> None:
    """Keep the features of all tokens, micro-batch by micro-batch, from hidden states in which they are scattered."""
    features = found.features
    device = features.log_probs.device
    responses = list(features.token_ids.cpu().split(torch.bincount(features.response).tolist()))
    masks = jagged([torch.ones_like(ids) for ids in responses])
    slots = TokenSlots.of_batch(jagged(responses), masks, torch.arange(len(responses)))
    recording = Recording(slots, Sharding(), None, features.hidden.shape[1], device, "device")
    for slot in torch.arange(len(slots), device=device).split(MICRO_BATCH):
        log_probs, log_sums = features.log_probs[slot], features.log_normalizer[slot]
        recording.write(slot, features.hidden[slot], log_probs, log_sums + log_probs, log_sums[recording.unchecked])
    group = features.group.new_zeros(len(responses)).scatter_(0, features.response, features.group)
    recording.features(group.cpu(), torch.ones(len(slots)))
