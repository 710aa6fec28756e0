"""Reads what ``algorithm.nthr.token_dump_dir`` has written: one file per step, one JSON object per response."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from verl_nthr.errors import InputError
from verl_nthr.json_lines import Integer, Record, check_record, parse_line
from verl_nthr.text import label, quoted

SCHEMA = 2
STEP = re.compile(r"0|[1-9][0-9]*")
LARGEST = 3.4028234663852886e38
"""Of a float32, which is what the trainer computes with."""

Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
PER_TOKEN = ("token_ids", "mask", "log_probs", "entropies", "scores", "weights")


class Response(Record):
    """One response; the lists have one entry a response token."""

    step: Integer
    """Training step."""

    uid: str
    """Prompt group."""

    response_index: Integer
    """Position in the group."""

    prompt: str
    """Decoded with its template."""

    response: str
    """Decoded."""

    tokens: list[str]
    """Each token decoded by itself."""

    token_ids: list[Integer]
    """Ids in the vocabulary."""

    mask: list[Annotated[int, Field(ge=0, le=1)]]
    """1 where the model is trained on the token, else 0."""

    log_probs: list[Number | None]
    """Under the policy before the step."""

    entropies: list[Number | None]
    """Of the next-token distribution that the token was sampled from, in nats."""

    scores: list[Number | None]
    """NTHR's s; None where it was not scored."""

    weights: list[Number]
    """Factor of the advantage; with NTHR 1, or η on eased tokens."""

    reward: Number
    """Of the whole response."""

    correct: bool
    """True for a correct response."""

    advantage: Number
    """GRPO's, before the weights."""

    tau: Number | None
    """The group's threshold; None if the group is not mixed, or without a threshold (β = −∞)."""

    eta: Number | None
    """The weight of the group's eased tokens; None if the group is not mixed, or the weighting has no η."""

    success_rate: Number
    """Fraction of the group's responses that are correct."""

    @model_validator(mode="after")
    def _has_one_entry_a_token(self) -> Response:
        for name in PER_TOKEN:
            entries = len(getattr(self, name))
            if entries != len(self.tokens):
                raise ValueError(f"{name!r} has {entries} entries for {len(self.tokens)} tokens")
        return self

    def eased(self, index: int) -> bool:
        """True if the token's penalty is reduced."""
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
        """True with both correct and wrong responses; NTHR acts on such groups alone."""
        return len({response.correct for response in self.responses}) == 2


def read_step(path: Path) -> list[Group]:
    """The groups of one step, in the order of the file.

    Raises:
        InputError: a line is not a record of schema 2, the records are of several steps, or one is there twice.
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
    """The files ``<step>.jsonl`` of a folder, ascending by step; empty without such a folder."""
    files = {int(path.stem): path for path in folder.glob("*.jsonl") if STEP.fullmatch(path.stem) and path.is_file()}
    return dict(sorted(files.items()))


def parse_response(line: str, where: str) -> Response:
    """One line of a dump.

    Args:
        line: the JSON text.
        where: names file and line in errors.

    Raises:
        InputError: no JSON object, another schema, a key missing or of the wrong type, or lists of unequal length.
    """
    return check_response(parse_line(line, where), where)


def check_response(record: dict[str, Any], where: str) -> Response:
    """The response in the JSON object of a line; raises as :func:`parse_response` does."""
    if "schema" not in record:
        raise InputError(f"{where} has no 'schema': it is not a token dump")
    if record["schema"] != SCHEMA:
        raise InputError(
            f"{where} has schema {quoted(record['schema'], 60)}, this version reads {SCHEMA}: use the version of "
            "verl-nthr that wrote it, or dump again"
        )
    return check_record(Response, record, where)
