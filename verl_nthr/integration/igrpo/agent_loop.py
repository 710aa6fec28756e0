"""iGRPO (arXiv 2602.09000) as an agent loop of verl 0.9: drafts first, then responses to a prompt with the best draft.

``verl_nthr/config/igrpo.yaml`` names it to verl. Drafts are not trained on. All responses of a group answer the
same prompt with the best draft in it, so every advantage estimator and NTHR see an ordinary group.
"""

from __future__ import annotations

import asyncio
import random
import warnings
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import ray
import torch
from tensordict import TensorDict
from verl import DataProto
from verl.experimental.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

from verl_nthr.integration.igrpo.options import DraftOptions

_best_drafts: WeakValueDictionary[str, asyncio.Task[str]] = WeakValueDictionary()
"""Task by uid; verl runs all sessions of a prompt in one process, and each holds its group's task while it runs."""


class IGRPO(SingleTurnAgentLoop):
    """Agent loop that samples drafts once per prompt group, and answers the prompt with the best draft in it.

    Args:
        **kwargs: verl's own, and the options of :class:`verl_nthr.integration.igrpo.options.DraftOptions`.

    Raises:
        ValueError: a bad option.
    """

    def __init__(
        self, *args: Any, drafts: int = DraftOptions.drafts, template: str = DraftOptions.template, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.options = DraftOptions(drafts, template)

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """Sample a response to the prompt with its group's best draft; ``kwargs`` are the row's columns and ``uid``."""
        uid = kwargs["uid"]
        choice = _best_drafts.get(uid)
        if choice is None:
            choice = _best_drafts[uid] = asyncio.create_task(self._best_draft(sampling_params, kwargs))
        messages = self._with_draft(kwargs["raw_prompt"], await choice)
        return await super().run(sampling_params, **kwargs | {"raw_prompt": messages})

    async def _best_draft(self, sampling_params: dict[str, Any], columns: dict[str, Any]) -> str:
        """Sample drafts; return the text of the first with the highest reward, nan and ±inf counting as lowest."""
        sample = super().run
        drafts = await asyncio.gather(*(sample(sampling_params, **columns) for _ in range(self.options.drafts)))
        rewards = await asyncio.gather(*(self._reward(draft, columns) for draft in drafts))
        is_finite = np.isfinite(rewards)
        if not is_finite.all():
            warnings.warn(
                f"igrpo: the reward of {np.sum(~is_finite)} of {len(drafts)} drafts of a prompt is nan or infinite, "
                "and counts as the lowest; look at the reward function",
                stacklevel=2,
            )
        best = drafts[int(np.argmax(np.where(is_finite, rewards, -np.inf)))]
        return self.tokenizer.decode(best.response_ids, skip_special_tokens=True)

    async def _reward(self, draft: AgentLoopOutput, columns: dict[str, Any]) -> float:
        """Ask one of verl's reward workers, which are named actors, for a draft's reward."""
        prompt, response = torch.tensor([draft.prompt_ids]), torch.tensor([draft.response_ids])
        input_ids = torch.cat([prompt, response], dim=1)
        tensors = {
            "prompts": prompt,
            "responses": response,
            "input_ids": input_ids,
            "attention_mask": torch.ones_like(input_ids),
            "position_ids": torch.arange(input_ids.shape[1])[None],
        }
        others = columns | {"__num_turns__": draft.num_turns, "tool_extra_fields": draft.extra_fields}
        batch = DataProto(
            batch=TensorDict(tensors, batch_size=1),
            non_tensor_batch={name: _as_column(value) for name, value in others.items()},
        )
        worker = ray.get_actor(f"reward_loop_worker_{random.randrange(self.config.reward.num_workers)}")
        result = await worker.compute_score.remote(batch)
        return float(result["reward_score"])

    def _with_draft(self, raw_prompt: list[dict[str, Any]], draft: str) -> list[dict[str, Any]]:
        *earlier, last = raw_prompt
        if not isinstance(last["content"], str):
            raise ValueError("igrpo: prompts with images, videos or audio are not supported; use single_turn_agent")
        return [*earlier, last | {"content": self.options.with_draft(last["content"], draft)}]

    def _cap_text_prompt_length(self, prompt_ids: list[int]) -> list[int]:
        """Refuse a long prompt, of which verl would cut off the beginning."""
        if len(prompt_ids) > self.prompt_length:
            raise ValueError(
                f"igrpo: a prompt has {len(prompt_ids)} tokens, with its draft if it has one already, more than "
                f"data.max_prompt_length={self.prompt_length}; raise it, or lower data.max_response_length"
            )
        return prompt_ids


def _as_column(value: Any) -> np.ndarray:
    column = np.empty(1, dtype=object)
    column[0] = value
    return column
