"""What makes the rollouts of a stock run repeatable: a seed for every request, and rows in a fixed order.

verl names prompts at random and takes responses in the order in which they arrive.
"""

from __future__ import annotations

from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer


class SeededLoop(SingleTurnAgentLoop):
    """verl's own loop, with a seed that follows from the prompt's number in the data and the session."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        seed = 1000 * int(kwargs["index"]) + int(kwargs["session_id"])
        return await super().run(sampling_params | {"seed": seed}, **kwargs)


class OrderedReplayBuffer(ReplayBuffer):
    """verl's own buffer, whose batches are sorted by prompt and session."""

    def _materialize_batch(self, *args: Any, **kwargs: Any) -> Any:
        import transfer_queue as tq

        batch = super()._materialize_batch(*args, **kwargs)
        columns = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["prompts"])
        prompts = [prompt.tolist() for prompt in columns["prompts"].unbind()]
        sessions = [int(key.split("_")[1]) for key in batch.keys]
        batch.reorder(sorted(range(len(batch.keys)), key=lambda row: (prompts[row], sessions[row])))
        return batch
