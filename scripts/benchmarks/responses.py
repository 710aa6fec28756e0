"""Random responses whose hidden states and distributions are shaped like a trained model's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

LOGIT_NOISE = 2.0
"""Standard deviation of the logits of tokens that are not meant."""

SHARED, OWN = 0.7, 0.5
"""Scale of the part of the hidden states that a group has in common, and of that which each token has alone."""

LOWEST_PEAK, HIGHEST_PEAK = 3.5, 11.0
"""Pull towards the meant token, uniform: from hesitation between many tokens to 1 − π of about 1e-7."""


@dataclass(frozen=True)
class Responses:
    """T tokens in R responses to G prompts, with the model's output layer; axes as in ``nthr_weights``."""

    hidden: Tensor
    token_ids: Tensor
    response: Tensor
    group: Tensor
    correct: Tensor
    unembedding: Tensor

    def rounded(self, dtype: torch.dtype) -> Responses:
        """The same tokens, with hidden states and output layer in ``dtype``."""
        return replace(self, hidden=self.hidden.to(dtype), unembedding=self.unembedding.to(dtype))


def draw_responses(seed: int, *, groups: int, rollouts: int, response: int, hidden: int, vocabulary: int) -> Responses:
    """Draw responses: each position means a token of its group's pool, and the token is sampled from the softmax.

    Args:
        seed: of everything.
        groups: G.
        rollouts: responses a group; half of them are correct.
        response: tokens of the longest response; lengths are uniform from a half of it.
        hidden: D.
        vocabulary: V.
    """
    rng = torch.Generator().manual_seed(seed)
    scale = LOGIT_NOISE / ((SHARED**2 + OWN**2) * hidden) ** 0.5
    unembedding = scale * torch.randn(vocabulary, hidden, generator=rng)
    group = torch.arange(groups).repeat_interleave(rollouts)
    lengths = torch.randint(max(1, response // 2), response + 1, (len(group),), generator=rng)
    of_response = torch.repeat_interleave(torch.arange(len(group)), lengths)
    of_group = group[of_response]
    pools = torch.randint(vocabulary, (groups, response), generator=rng)
    meant = pools[of_group, torch.randint(response, of_group.shape, generator=rng)]
    pull = LOWEST_PEAK + (HIGHEST_PEAK - LOWEST_PEAK) * torch.rand(len(meant), 1, generator=rng)
    shared = torch.randn(groups, hidden, generator=rng)[of_group]
    own = torch.randn(len(meant), hidden, generator=rng)
    states = SHARED * shared + OWN * own + pull * unembedding[meant] / (scale * hidden**0.5)
    probabilities = torch.softmax(states.double() @ unembedding.double().T, dim=-1)
    return Responses(
        hidden=states,
        token_ids=torch.multinomial(probabilities, 1, generator=rng)[:, 0],
        response=of_response,
        group=group,
        correct=torch.arange(len(group)) % 2 == 0,
        unembedding=unembedding,
    )
