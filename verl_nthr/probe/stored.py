"""Reads stored rollouts: verl's ``trainer.rollout_data_dir`` files, or this package's token dumps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from verl_nthr.errors import InputError
from verl_nthr.generation.prompts import Prompt, encode_prompt
from verl_nthr.json_lines import Integer, Record, check_record, parse_line
from verl_nthr.probe.rollouts import Rollout
from verl_nthr.text import quoted

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


FORMATS = "wanted verl's rollout_data_dir format or a token dump"


class DumpedResponse(Record):
    """The keys that are read of a line of a token dump."""

    step: Any = 0
    """Training step."""

    uid: str
    """Prompt group."""

    prompt: str
    """Decoded with its template."""

    token_ids: list[Integer]
    """Of the response."""

    mask: list[Any] = Field(default_factory=list)
    """0 where the model did not write the token."""

    reward: float
    """Of the whole response."""


class VerlResponse(Record):
    """The keys that are read of a line of verl's ``trainer.rollout_data_dir``."""

    step: Any = 0
    """Training step."""

    uid: Any = None
    """``{sample}_{rollout}_{output}``; files of older versions have none."""

    input: str
    """The prompt without special tokens."""

    output: str
    """The response without special tokens."""

    score: float
    """Of the whole response."""

    @property
    def group(self) -> str:
        """The same for the responses to one prompt."""
        name = self.input if self.uid is None else str(self.uid)
        parts = name.rsplit("_", 2)
        if self.uid is not None and len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
            name = parts[0]
        return f"{self.step}/{name}"


@dataclass(frozen=True)
class StoredResponse:
    """One line of the file."""

    group: str
    """The same for the responses to one prompt."""

    prompt: list[int]
    """Token ids."""

    response: list[int]
    """Token ids."""

    reward: float
    """As stored."""


def read_stored(
    path: Path,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[Prompt] | None,
    max_response_tokens: int,
) -> list[Rollout]:
    """Groups of a rollout file, in the order of their first lines.

    verl's files (``input``, ``output``, ``score``) hold text without special tokens. The prompt is found again among
    ``prompts``; the response is tokenized again, and ends with the end-of-sequence token if it is shorter than
    ``max_response_tokens``. Token dumps (``prompt``, ``token_ids``, ``reward``) are taken as they are.

    Args:
        path: JSON lines.
        tokenizer: the model's.
        prompts: the data that the rollouts were made from; needed for verl's files.
        max_response_tokens: of the run that wrote them; needed for verl's files.

    Raises:
        InputError: the file is missing, empty, truncated, or a line lacks something; the message names the line.
    """
    if not path.is_file():
        raise InputError(f"--from: {path} does not exist")
    prompts = _prompts_by_text(tokenizer, prompts)
    groups: dict[str, list[StoredResponse]] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if line.strip():
            where = f"{path}:{number}"
            read = _read_dumped if "token_ids" in (entry := parse_line(line, where)) else _read_verl
            response = read(entry, where, tokenizer, prompts, max_response_tokens)
            groups.setdefault(response.group, []).append(response)
    if not groups:
        raise InputError(f"--from: {path} is empty")
    return [
        Rollout(
            name=group,
            prompt=members[0].prompt,
            responses=[member.response for member in members],
            rewards=[member.reward for member in members],
        )
        for group, members in groups.items()
    ]


def _read_dumped(
    entry: dict[str, Any], where: str, tokenizer: PreTrainedTokenizerBase, _: dict[str, list[int]] | None, __: int
) -> StoredResponse:
    found = check_record(DumpedResponse, entry, where, FORMATS)
    if 0 in found.mask:
        raise InputError(f"{where}: the response has tokens that the model did not write; the probe is single-turn")
    prompt = tokenizer.encode(found.prompt, add_special_tokens=False)
    return StoredResponse(f"{found.step}/{found.uid}", prompt, found.token_ids, found.reward)


def _read_verl(
    entry: dict[str, Any],
    where: str,
    tokenizer: PreTrainedTokenizerBase,
    prompts: dict[str, list[int]] | None,
    max_response_tokens: int,
) -> StoredResponse:
    found = check_record(VerlResponse, entry, where, FORMATS)
    if prompts is None:
        raise InputError(f"{where}: verl's rollouts hold no special tokens; pass DATA, the parquet they were made from")
    if found.input not in prompts:
        raise InputError(f"{where}: DATA has no prompt that MODEL's chat template renders as {quoted(found.input)}")
    response = tokenizer.encode(found.output, add_special_tokens=False)
    if len(response) < max_response_tokens and tokenizer.eos_token_id is not None:
        response.append(tokenizer.eos_token_id)
    return StoredResponse(found.group, prompts[found.input], response, found.score)


def _prompts_by_text(tokenizer: PreTrainedTokenizerBase, prompts: list[Prompt] | None) -> dict[str, list[int]] | None:
    if prompts is None:
        return None
    encoded = [encode_prompt(tokenizer, prompt) for prompt in prompts]
    decode: Callable[..., str] = tokenizer.decode
    return {decode(prompt, skip_special_tokens=True): prompt for prompt in encoded}
