"""Reads stored rollouts: verl's ``trainer.rollout_data_dir`` files, or this package's token dumps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verl_nthr.errors import InputError
from verl_nthr.generation.jsonl import parse_line
from verl_nthr.generation.questions import Question, encode_prompt
from verl_nthr.json_values import is_integer, is_number, list_of
from verl_nthr.probe.rollouts import Rollout
from verl_nthr.text import quoted

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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
    questions: list[Question] | None,
    max_response_tokens: int,
) -> list[Rollout]:
    """Groups of a rollout file, in the order of their first lines.

    verl's files (``input``, ``output``, ``score``) hold text without special tokens. The prompt is found again among
    ``questions``; the response is tokenized again, and ends with the end-of-sequence token if it is shorter than
    ``max_response_tokens``. Token dumps (``prompt``, ``token_ids``, ``reward``) are taken as they are.

    Args:
        path: JSON lines.
        tokenizer: the model's.
        questions: the data that the rollouts were made from; needed for verl's files.
        max_response_tokens: of the run that wrote them; needed for verl's files.

    Raises:
        InputError: the file is missing, empty, truncated, or a line lacks something; the message names the line.
    """
    if not path.is_file():
        raise InputError(f"--from: {path} does not exist")
    prompts = _prompts_by_text(tokenizer, questions)
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
        Rollout(group, members[0].prompt, [member.response for member in members], [m.reward for m in members])
        for group, members in groups.items()
    ]


def _read_dumped(
    entry: dict[str, Any], where: str, tokenizer: PreTrainedTokenizerBase, _: dict[str, list[int]] | None, __: int
) -> StoredResponse:
    prompt = _field(entry, "prompt", str, where)
    token_ids = _field(entry, "token_ids", list, where)
    mask = entry.get("mask", [])
    if not list_of(is_integer)(token_ids) or not isinstance(mask, list):
        raise InputError(f"{where}: 'token_ids' and 'mask' have to be lists of integers")
    group = f"{entry.get('step', 0)}/{_field(entry, 'uid', str, where)}"
    if 0 in mask:
        raise InputError(f"{where}: the response has tokens that the model did not write; the probe is single-turn")
    return StoredResponse(
        group, tokenizer.encode(prompt, add_special_tokens=False), token_ids, _reward(entry, "reward", where)
    )


def _read_verl(
    entry: dict[str, Any],
    where: str,
    tokenizer: PreTrainedTokenizerBase,
    prompts: dict[str, list[int]] | None,
    max_response_tokens: int,
) -> StoredResponse:
    text = _field(entry, "input", str, where)
    if prompts is None:
        raise InputError(f"{where}: verl's rollouts hold no special tokens; pass DATA, the parquet they were made from")
    if text not in prompts:
        raise InputError(f"{where}: DATA has no prompt that MODEL's chat template renders as {quoted(text)}")
    response = tokenizer.encode(_field(entry, "output", str, where), add_special_tokens=False)
    if len(response) < max_response_tokens and tokenizer.eos_token_id is not None:
        response.append(tokenizer.eos_token_id)
    return StoredResponse(_verl_group(entry, text), prompts[text], response, _reward(entry, "score", where))


def _verl_group(entry: dict[str, Any], text: str) -> str:
    """verl's keys are ``{sample}_{rollout}_{output}``; files of older versions have no ``uid``."""
    uid = entry.get("uid")
    name = text if uid is None else str(uid)
    parts = name.rsplit("_", 2)
    if uid is not None and len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
        name = parts[0]
    return f"{entry.get('step', 0)}/{name}"


def _prompts_by_text(
    tokenizer: PreTrainedTokenizerBase, questions: list[Question] | None
) -> dict[str, list[int]] | None:
    if questions is None:
        return None
    encoded = [encode_prompt(tokenizer, question) for question in questions]
    decode: Callable[..., str] = tokenizer.decode
    return {decode(prompt, skip_special_tokens=True): prompt for prompt in encoded}


def _field(entry: dict[str, Any], name: str, kind: type, where: str) -> Any:
    if not isinstance(entry.get(name), kind):
        raise InputError(f"{where} has no {name!r}; wanted verl's rollout_data_dir format or a token dump")
    return entry[name]


def _reward(entry: dict[str, Any], name: str, where: str) -> float:
    value = entry.get(name)
    if not is_number(value):
        raise InputError(f"{where}: {name!r} has to be a finite number, got {quoted(value)}")
    return float(value)
