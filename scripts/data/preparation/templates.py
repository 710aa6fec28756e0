"""Prompts as chat messages: verl applies the tokenizer's chat template to them."""

from __future__ import annotations

from dataclasses import dataclass

BOXED = r"Please reason step by step, and put your final answer within \boxed{}."


@dataclass(frozen=True)
class Template:
    """How a family of models is asked."""

    system: str | None
    """The system message; None leaves it to the tokenizer's chat template."""

    instruction: str | None
    """A line after the problem."""

    def messages(self, problem: str) -> list[dict[str, str]]:
        """The chat that asks for the problem's solution."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        question = f"{problem}\n{self.instruction}" if self.instruction else problem
        return [*system, {"role": "user", "content": question}]


IN_THE_QUESTION = Template(system=None, instruction=BOXED)

TEMPLATES = {
    "qwen2.5-math": Template(system=BOXED, instruction=None),
    "qwen2.5-instruct": IN_THE_QUESTION,
    "llama-3.2": IN_THE_QUESTION,
    "deepseek-r1-distill": IN_THE_QUESTION,
}
"""By ``--template``."""
