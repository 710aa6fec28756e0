"""The loop that asks a sampler for a few prompts at a time."""

from __future__ import annotations

import pytest

from tests.toy import make_tokenizer
from verl_nthr.errors import InputError
from verl_nthr.extras import check_installed
from verl_nthr.generation.prompts import Prompt
from verl_nthr.generation.sampler import Decoding, sample_in_chunks

PROMPTS = [Prompt(10 + place, [{"role": "user", "content": str(place)}], "toy", "1", {}) for place in range(7)]
DECODING = Decoding(responses=2, temperature=1.0, max_response_tokens=4)


@pytest.mark.parametrize(
    ("done", "asked", "sampled"),
    [
        (0, [(50, 3), (53, 3), (56, 1)], [10, 11, 12, 13, 14, 15, 16]),
        (3, [(53, 3), (56, 1)], [13, 14, 15, 16]),
        (4, [(53, 3), (56, 1)], [14, 15, 16]),
        (6, [(56, 1)], [16]),
        (7, [], []),
    ],
)
def test_what_is_done_is_not_asked_again(done: int, asked: list[tuple[int, int]], sampled: list[int]) -> None:
    calls = []

    def sample(prompts: list[list[int]], decoding: Decoding, seed: int) -> list[list[list[int]]]:
        assert decoding == DECODING
        calls.append((seed, len(prompts)))
        return [[prompt, [seed]] for prompt in prompts]

    chunks = list(sample_in_chunks(PROMPTS, make_tokenizer(), lambda: sample, DECODING, 50, 3, done))
    assert calls == asked
    groups = [group for chunk in chunks for group in chunk]
    assert [each.prompt.index for each in groups] == sampled
    tokenizer = make_tokenizer()
    for each in groups:
        assert tokenizer.decode(each.prompt_ids) == (
            f"<|im_start|>user\n{each.prompt.index - 10}<|im_end|>\n<|im_start|>assistant\n"
        )
        assert each.responses[0] == each.prompt_ids


def test_packages_that_are_missing() -> None:
    check_installed("torch")
    with pytest.raises(InputError, match=r"not installed: no_such, nor_this; pip install 'verl-nthr\[demo\]'"):
        check_installed("torch", "no_such", "nor_this")
