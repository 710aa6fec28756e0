"""How long prompts are."""

from __future__ import annotations

from typing import Any

from .errors import DataError

Messages = list[dict[str, str]]


def characters(messages: Messages) -> int:
    """Of all messages, without the chat template."""
    return sum(len(message["content"]) for message in messages)


class TokenCounter:
    """Counts tokens as verl does: the chat template with the generation prompt."""

    def __init__(self, tokenizer: str) -> None:
        """Load it.

        Raises:
            DataError: there is none at that path, or it has no chat template.
        """
        from transformers import AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise DataError(f"--tokenizer {tokenizer} cannot be loaded ({error})") from error
        if not self._tokenizer.chat_template:
            raise DataError(f"--tokenizer {tokenizer} has no chat template; give that of an instruction-tuned model")

    def __call__(self, messages: Messages) -> int:
        """Tokens of the prompt."""
        text = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])
