"""JSON lines that survive a kill, and the checks of what is read from them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from verl_nthr.errors import InputError
from verl_nthr.text import quoted

Integer = Annotated[int, Field(ge=-(2**53), le=2**53)]
"""An integer that every reader of JSON holds exactly."""

VALUE_CHARACTERS = 60


class Record(BaseModel):
    """A JSON object: nothing is converted but integers to floats, and all numbers are finite."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


AnyRecord = TypeVar("AnyRecord", bound=Record)


def check_record(model: type[AnyRecord], entry: Any, where: str, fix: str = "") -> AnyRecord:
    """``entry`` as a ``model``.

    Args:
        model: what is wanted.
        entry: what was read.
        where: names file and line in errors.
        fix: ends the message of errors.

    Raises:
        InputError: it is something else; the message begins with ``where`` and names the first wrong key.
    """
    try:
        return model.model_validate(entry)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    if first["type"] == "value_error":
        problem = f"{where}: {first['ctx']['error']}"
    elif first["type"] == "missing":
        problem = f"{where} has no {_key(first['loc'])}"
    else:
        got = quoted(first["input"], VALUE_CHARACTERS)
        wanted = "Input should be an object" if first["type"] == "model_type" else first["msg"]
        problem = f"{where}: {_key(first['loc'])}: {wanted[0].lower()}{wanted[1:]}, got {got}"
    raise InputError(f"{problem}; {fix}" if fix else problem)


def parse_line(line: str | bytes, where: str) -> dict[str, Any]:
    """The JSON object in ``line``.

    Raises:
        InputError: it is something else; the message begins with ``where``.
    """
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is no JSON ({error}); was the file cut off?") from error
    if not isinstance(entry, dict):
        raise InputError(f"{where} is no JSON object")
    return entry


def append_line(path: Path, entry: dict[str, Any]) -> None:
    """Append ``entry`` as one line of strict JSON."""
    line = json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n"
    # a lone surrogate, which UTF-8 does not have, is written as JSON's own escape
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(line)


def recover_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a file of our own; what a kill left of an unfinished last line is cut off the file.

    Raises:
        InputError: a complete line is not a JSON object.
    """
    if not path.is_file():
        return []
    content = path.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]
    entries = [
        parse_line(line, f"{path}:{number}") for number, line in enumerate(complete.splitlines(), start=1) if line
    ]
    if len(complete) < len(content):
        os.truncate(path, len(complete))
    return entries


def _key(location: tuple[int | str, ...]) -> str:
    name, *inner = (quoted(part, VALUE_CHARACTERS) for part in location)
    return name + "".join(f"[{part}]" for part in inner)
