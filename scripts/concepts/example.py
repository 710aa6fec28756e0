"""One group of answers to "3 + 4 × 2", by a model of random weights: every number of NTHR, and what an update does.

Only the output layer W [V, D] is trained, so that what a token's update does to the correct answer is known to first
order: its influence score times its advantage.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from verl_nthr import NTHRResult, nthr_weights

ANSWERS = (
    ("4 × 2 = 8 , 3 + 8 = 11", True),
    ("4 × 2 = 8 , 3 + 8 = 12", False),
    ("4 × 2 = 6 , 3 + 6 = 9", False),
    ("3 + 4 = 7 , 7 × 2 = 14", False),
)
DIM = 8
LEARNING_RATE = 0.01


@dataclass(frozen=True)
class Example:
    """The group; axis T runs over the tokens of all answers, V over the vocabulary, D over the hidden state.

    Attributes:
        words: T tokens as text.
        token_ids: [T] int64.
        response: [T] int64, the answer of each token.
        correct: [R] bool.
        hidden: [T, D] float64, the state that predicts each token.
        unembedding: [V, D] float64.
    """

    words: list[str]
    token_ids: Tensor
    response: Tensor
    correct: Tensor
    hidden: Tensor
    unembedding: Tensor

    @cached_property
    def decision(self) -> NTHRResult:
        """Scores, threshold and weights of NTHR with its default options."""
        group = torch.zeros(len(self.correct), dtype=torch.int64)
        return nthr_weights(
            self.hidden, self.token_ids, None, self.response, group, self.correct, self.unembedding, vocabulary="full"
        )

    @property
    def grpo(self) -> Tensor:
        """GRPO's advantage of every token: [T]."""
        rewards = self.correct.double()
        return ((rewards - rewards.mean()) / (rewards.std() + 1e-6))[self.response]

    def advantages(self) -> dict[str, Tensor]:
        """By method, the advantage of every token: [T]."""
        weight = self.decision.weight.double()
        return {"Pos-Only": self.grpo.clamp(min=0), "GRPO+NTHR": self.grpo * weight, "GRPO": self.grpo}

    def log_likelihood(self, unembedding: Tensor) -> Tensor:
        """ln π of every token: [T]."""
        log_probs = torch.log_softmax(self.hidden @ unembedding.T, dim=1)
        return log_probs.gather(1, self.token_ids[:, None])[:, 0]

    def change(self, advantages: Tensor) -> float:
        """Change of ln π of the correct answer by one update W ← W + α ∇ Σ_t A_t ln π_t."""
        trained = self.unembedding.clone().requires_grad_()
        (advantages * self.log_likelihood(trained)).sum().backward()
        updated = self.unembedding + LEARNING_RATE * trained.grad
        moved = self.log_likelihood(updated) - self.log_likelihood(self.unembedding)
        return float(moved[self.correct[self.response]].sum())

    def errors(self) -> Tensor:
        """Prediction errors g = e_y − π: [T, V]."""
        probabilities = torch.softmax(self.hidden @ self.unembedding.T, dim=1)
        return torch.nn.functional.one_hot(self.token_ids, probabilities.shape[1]) - probabilities

    def influence_matrix(self, tokens: Tensor) -> Tensor:
        """The part of M⁺ = Σ g hᵀ that comes from ``tokens`` [T] bool: [V, D]."""
        return self.errors()[tokens].T @ self.hidden[tokens]


def make_example() -> Example:
    """The group under a recurrent model of fixed random weights: h ← tanh(A h + embedding of the last token)."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = sorted({word for answer, _ in ANSWERS for word in answer.split()})

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) / DIM**0.5

    recurrence, prompt = draw(DIM, DIM), draw(DIM)
    embedding, unembedding = draw(len(vocabulary), DIM), draw(len(vocabulary), DIM)
    words, ids, response, states = [], [], [], []
    for index, (answer, _) in enumerate(ANSWERS):
        state = torch.tanh(prompt * DIM**0.5)
        for word in answer.split():
            words.append(word)
            ids.append(vocabulary.index(word))
            response.append(index)
            states.append(state)
            state = torch.tanh(recurrence @ state + DIM**0.5 * embedding[ids[-1]])
    correct = torch.tensor([right for _, right in ANSWERS])
    return Example(words, torch.tensor(ids), torch.tensor(response), correct, torch.stack(states), unembedding)
