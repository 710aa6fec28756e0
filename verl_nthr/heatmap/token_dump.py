"""Reads what ``algorithm.nthr.token_dump_dir`` has written: a file a step, a JSON object a response."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

from verl_nthr.errors import InputError
from verl_nthr.json_values import is_integer, is_number, is_string, list_of
from verl_nthr.text import label, quoted

SCHEMA = 2
STEP = re.compile(r"0|[1-9][0-9]*")
LARGEST = 3.4028234663852886e38
"""Of a float32, which is what the trainer computes with."""


@dataclass(frozen=True)
class Response:
    """One response; the lists have one entry a response token."""

    step: int
    """Training step."""

    uid: str
    """Prompt group."""

    response_index: int
    """Position in the group."""

    prompt: str
    """Decoded with its template."""

    response: str
    """Decoded."""

    tokens: list[str]
    """Each token decoded by itself."""

    token_ids: list[int]
    """Ids in the vocabulary."""

    mask: list[int]
    """1 where the model is trained on the token, else 0."""

    log_probs: list[float | None]
    """Under the policy before the step."""

    entropies: list[float | None]
    """Of the next-token distribution that the token was sampled from, in nats."""

    scores: list[float | None]
    """NTHR's s; None where it was not scored."""

    weights: list[float]
    """Factor of the advantage; with NTHR 1, or η on the tokens spared."""

    reward: float
    """Of the whole response."""

    correct: bool
    """Whether the response counts as correct."""

    advantage: float
    """GRPO's, before the weights."""

    tau: float | None
    """The group's threshold; None if the group is not mixed, or without a threshold (β = −∞)."""

    eta: float | None
    """The group's weight of spared tokens; None if the group is not mixed, or the weighting has no η."""

    success_rate: float
    """Fraction of the group's responses that are correct."""

    def spared(self, index: int) -> bool:
        """Whether the token's penalty is reduced."""
        if self.correct or not self.mask[index]:
            return False
        weight, score = self.weights[index], self.scores[index]
        return weight < 1.0 or (weight == 1.0 and self.tau is not None and score is not None and score > self.tau)


@dataclass(frozen=True)
class Group:
    """The responses to one prompt."""

    uid: str
    """Name of the group."""

    responses: list[Response]
    """In the order of ``response_index``."""

    @property
    def mixed(self) -> bool:
        """Whether it has right and wrong answers, which is where NTHR has an effect."""
        return len({response.correct for response in self.responses}) == 2


def read_step(path: Path) -> list[Group]:
    """The groups of one step, in the order of the file.

    Raises:
        InputError: a line is no record of schema 2, the records are of several steps, or one is there twice.
        OSError: the file cannot be read.
    """
    groups: dict[str, dict[int, Response]] = {}
    steps: set[int] = set()
    with path.open(encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, start=1):
                response = parse_response(line, f"{path}:{number}")
                steps.add(response.step)
                members = groups.setdefault(response.uid, {})
                if response.response_index in members:
                    raise InputError(
                        f"{path}:{number}: response {response.response_index} of {label(response.uid)} is twice"
                    )
                members[response.response_index] = response
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not UTF-8 ({error}): it is not a token dump") from error
    if len(steps) > 1:
        raise InputError(f"{path} has records of several steps: {label(', '.join(map(str, sorted(steps))))}")
    return [Group(uid, [members[index] for index in sorted(members)]) for uid, members in groups.items()]


def dumped_steps(folder: Path) -> dict[int, Path]:
    """The files ``<step>.jsonl`` of a folder, ascending by step; empty if there is no such folder."""
    files = {int(path.stem): path for path in folder.glob("*.jsonl") if STEP.fullmatch(path.stem) and path.is_file()}
    return dict(sorted(files.items()))


def parse_response(line: str, where: str) -> Response:
    """One line of a dump.

    Args:
        line: the JSON text.
        where: names file and line in errors.

    Raises:
        InputError: no strict JSON, another schema, a key missing or of the wrong type, or lists of unequal length.
    """
    try:
        record = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is no strict JSON ({error}); the file may be cut off or not a token dump") from error
    if not isinstance(record, dict) or "schema" not in record:
        raise InputError(f"{where} has no 'schema': it is not a token dump")
    if record["schema"] != SCHEMA:
        raise InputError(
            f"{where} has schema {quoted(record['schema'], 60)}, this version reads {SCHEMA}: use the version of "
            "verl-nthr that wrote it, or dump again"
        )
    for name, (right, wanted) in CHECKS.items():
        if name not in record:
            raise InputError(f"{where} has no {name!r}")
        if not right(record[name]):
            raise InputError(f"{where}: {name!r} has to be {wanted}, it is {quoted(record[name], 60)}")
    for name in PER_TOKEN:
        if len(record[name]) != len(record["tokens"]):
            raise InputError(f"{where}: {name!r} has {len(record[name])} entries for {len(record['tokens'])} tokens")
    return Response(**{field.name: record[field.name] for field in fields(Response)})


def _is_number(value: Any) -> bool:
    return is_number(value, LARGEST)


def _is_optional_number(value: Any) -> bool:
    return value is None or _is_number(value)


CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "step": (is_integer, "an integer"),
    "uid": (is_string, "a string"),
    "response_index": (is_integer, "an integer"),
    "prompt": (is_string, "a string"),
    "response": (is_string, "a string"),
    "tokens": (list_of(is_string), "a list of strings"),
    "token_ids": (list_of(is_integer), "a list of integers"),
    "mask": (list_of(lambda value: is_integer(value) and value in (0, 1)), "a list of 0 and 1"),
    "log_probs": (list_of(_is_optional_number), "a list of numbers and nulls"),
    "entropies": (list_of(_is_optional_number), "a list of numbers and nulls"),
    "scores": (list_of(_is_optional_number), "a list of numbers and nulls"),
    "weights": (list_of(_is_number), "a list of numbers"),
    "reward": (_is_number, "a number"),
    "correct": (lambda value: isinstance(value, bool), "true or false"),
    "advantage": (_is_number, "a number"),
    "tau": (_is_optional_number, "a number or null"),
    "eta": (_is_optional_number, "a number or null"),
    "success_rate": (_is_number, "a number"),
}
PER_TOKEN = ("token_ids", "mask", "log_probs", "entropies", "scores", "weights")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
