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
        read = [*_written(first), *((token, 0, 0.0) for token in self.observation)]
        context = [*prompt, *(token for token, *_ in read)]
        second = await self._write(context, sampling_params, SECOND_TURN)
        if kwargs["session_id"] == 0:
            return [_output(prompt, read, first), _output(context, _written(second), second)]
        return [_output(prompt, read + _written(second), second)]

    async def _write(self, prompt: list[int], sampling_params: dict[str, Any], tokens: int) -> TokenOutput:
        return await self.server_manager.generate(
            request_id=uuid4().hex, prompt_ids=prompt, sampling_params=sampling_params | {"max_tokens": tokens}
        )


def _written(turn: TokenOutput) -> list[tuple[int, int, float]]:
    """(token, mask, log-prob) of what the model wrote."""
    return [(token, 1, log_prob) for token, log_prob in zip(turn.token_ids, turn.log_probs, strict=True)]


def _output(prompt: list[int], response: list[tuple[int, int, float]], turn: TokenOutput) -> AgentLoopOutput:
    tokens, mask, log_probs = (list(values) for values in zip(*response, strict=True))
    return AgentLoopOutput(
        prompt_ids=prompt,
        response_ids=tokens,
        response_mask=mask,
        response_logprobs=log_probs,
        num_turns=4,
        metrics=AgentLoopMetrics(),
        extra_fields=dict(turn.extra_fields),
    )
