"""What every token weighting has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from verl_nthr.weighting.responses import Responses


class Weighting(ABC):
    """A rule that multiplies the base advantage of every token by a weight.

    Attributes:
        is_scored: whether it reads influence scores, which the old-log-prob pass then records.
        length_normalised: whether M⁺ of those scores takes every correct response by 1/|y|.
    """

    is_scored: ClassVar[bool] = False
    length_normalised: ClassVar[bool] = False

    @abstractmethod
    def selected(self, responses: Responses) -> Tensor:
        """Tokens that the rule singles out: [R, L] bool."""

    @abstractmethod
    def candidates(self, responses: Responses) -> Tensor:
        """Tokens among which it chooses: [R, L] bool."""

    @abstractmethod
    def weights(self, responses: Responses) -> Tensor:
        """Factor of every token's advantage: [R, L] float32, 1 where the rule has nothing to say."""
