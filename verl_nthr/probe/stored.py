"""Reads stored rollouts: verl's ``trainer.rollout_data_dir`` files, or this package's token dumps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from verl_nthr.errors import InputError
from verl_nthr.generation.prompts import Prompt, encode_prompt
from verl_nthr.heatmap.token_dump import check_response
from verl_nthr.json_lines import Record, check_record, parse_line
from verl_nthr.probe.groups import Group
from verl_nthr.text import quoted

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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


def read_stored(
    path: Path, tokenizer: PreTrainedTokenizerBase, prompts: list[Prompt] | None, max_response_tokens: int
) -> list[Group]:
    """Groups of a rollout file, in the order of their first lines.

    verl's files (``input``, ``output``, ``score``) hold text without special tokens. The prompt is found again among
    ``prompts``; the response is tokenized again, and ends with the end-of-sequence token if it is shorter than
    ``max_response_tokens``. The tokens of a dump (``token_ids``) are taken as they are.

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
    encoded = None if prompts is None else [encode_prompt(tokenizer, prompt) for prompt in prompts]
    by_text = None if encoded is None else {tokenizer.decode(ids, skip_special_tokens=True): ids for ids in encoded}
    prompt_of: dict[str, list[int]] = {}
    members: dict[str, list[tuple[list[int], float]]] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        if "token_ids" in (entry := parse_line(line, where)):
            name, prompt, response, reward = _read_dumped(entry, where, tokenizer)
        else:
            name, prompt, response, reward = _read_verl(entry, where, tokenizer, by_text, max_response_tokens)
        prompt_of.setdefault(name, prompt)
        members.setdefault(name, []).append((response, reward))
    if not members:
        raise InputError(f"--from: {path} is empty")
    return [
        Group(
            name=name,
            prompt=prompt_of[name],
            responses=[response for response, _ in pairs],
            rewards=[reward for _, reward in pairs],
        )
        for name, pairs in members.items()
    ]


def _read_dumped(
    entry: dict[str, Any], where: str, tokenizer: PreTrainedTokenizerBase
) -> tuple[str, list[int], list[int], float]:
    found = check_response(entry, where)
    if 0 in found.mask:
        raise InputError(f"{where}: the response has tokens that the model did not write; the probe is single-turn")
    prompt = tokenizer.encode(found.prompt, add_special_tokens=False)
    return f"{found.step}/{found.uid}", prompt, found.token_ids, found.reward


def _read_verl(
    entry: dict[str, Any],
    where: str,
    tokenizer: PreTrainedTokenizerBase,
    by_text: dict[str, list[int]] | None,
    max_response_tokens: int,
) -> tuple[str, list[int], list[int], float]:
    found = check_record(VerlResponse, entry, where, "wanted verl's rollout_data_dir format or a token dump")
    if by_text is None:
        raise InputError(f"{where}: verl's rollouts hold no special tokens; pass DATA, the parquet they were made from")
    if found.input not in by_text:
        raise InputError(f"{where}: DATA has no prompt that MODEL's chat template renders as {quoted(found.input)}")
    response = tokenizer.encode(found.output, add_special_tokens=False)
    if len(response) < max_response_tokens and tokenizer.eos_token_id is not None:
        response.append(tokenizer.eos_token_id)
    return found.group, by_text[found.input], response, found.score
