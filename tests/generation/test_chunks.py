"""The loop that asks a sampler for a few questions at a time."""

from __future__ import annotations

import pytest

from tests.toy import make_tokenizer
from verl_nthr.errors import InputError
from verl_nthr.extras import check_installed
from verl_nthr.generation.questions import Question
from verl_nthr.generation.sampler import Decoding, sample_in_chunks

QUESTIONS = [Question(10 + place, [{"role": "user", "content": str(place)}], "toy", "1", {}) for place in range(7)]
DECODING = Decoding(responses=2, temperature=1.0, max_response_tokens=4)


@pytest.mark.parametrize(
    ("done", "asked", "answered"),
    [
        (0, [(50, 3), (53, 3), (56, 1)], [10, 11, 12, 13, 14, 15, 16]),
        (3, [(53, 3), (56, 1)], [13, 14, 15, 16]),
        (4, [(53, 3), (56, 1)], [14, 15, 16]),
        (6, [(56, 1)], [16]),
        (7, [], []),
    ],
)
def test_what_is_done_is_not_asked_again(done: int, asked: list[tuple[int, int]], answered: list[int]) -> None:
    calls = []

    def sample(prompts: list[list[int]], decoding: Decoding, seed: int) -> list[list[list[int]]]:
        assert decoding == DECODING
        calls.append((seed, len(prompts)))
        return [[prompt, [seed]] for prompt in prompts]

    chunks = list(sample_in_chunks(QUESTIONS, make_tokenizer(), lambda: sample, DECODING, 50, 3, done))
    assert calls == asked
    answers = [answers for chunk in chunks for answers in chunk]
    assert [each.question.index for each in answers] == answered
    tokenizer = make_tokenizer()
    for each in answers:
        assert tokenizer.decode(each.prompt) == (
            f"<|im_start|>user\n{each.question.index - 10}<|im_end|>\n<|im_start|>assistant\n"
        )
        assert each.responses[0] == each.prompt


def test_packages_that_are_missing() -> None:
    check_installed("torch")
    with pytest.raises(InputError, match=r"not installed: no_such, nor_this; pip install 'verl-nthr\[demo\]'"):
        check_installed("torch", "no_such", "nor_this")
