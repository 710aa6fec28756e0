"""An agent loop for tests: two turns with an observation in between, in one output or in two."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput
from verl.workers.rollout.replica import TokenOutput

FIRST_TURN, SECOND_TURN = 6, 9


class TwoTurns(AgentLoopBase):
    """The model writes, reads ``observation``, and writes on.

    The first session of a prompt has two outputs, of which the second has all that came before as its prompt; in the
    others, one output holds both turns.
    """

    def __init__(self, *args: Any, observation: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.observation = self.tokenizer(observation, add_special_tokens=False).input_ids

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> list[AgentLoopOutput]:
        prompt = await self.ct_build_initial_tokens(list(kwargs["raw_prompt"]))
        first = await self._write(prompt, sampling_params, FIRST_TURN)
        read = [*first.token_ids, *self.observation]
        read_mask = [1] * len(first.token_ids) + [0] * len(self.observation)
        second = await self._write(prompt + read, sampling_params, SECOND_TURN)
        written, written_mask = list(second.token_ids), [1] * len(second.token_ids)
        if kwargs["session_id"] == 0:
            return [_output(prompt, read, read_mask, first), _output(prompt + read, written, written_mask, second)]
        return [_output(prompt, read + written, read_mask + written_mask, second)]

    async def _write(self, prompt: list[int], sampling_params: dict[str, Any], tokens: int) -> TokenOutput:
        return await self.server_manager.generate(
            request_id=uuid4().hex, prompt_ids=prompt, sampling_params=sampling_params | {"max_tokens": tokens}
        )


def _output(prompt: list[int], response: list[int], mask: list[int], turn: TokenOutput) -> AgentLoopOutput:
    return AgentLoopOutput(
        prompt_ids=prompt,
        response_ids=response,
        response_mask=mask,
        num_turns=4,
        metrics=AgentLoopMetrics(),
        extra_fields=dict(turn.extra_fields),
    )
