"""The page's data: facts as JSON, the numbers of the tokens packed."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verl_nthr.heatmap.columns import TokenColumns, Vocabulary
from verl_nthr.heatmap.text import labels
from verl_nthr.heatmap.token_dump import Group, Response
from verl_nthr.text import printable

SATURATION_QUANTILE = 0.95
TRAINED, EASED = 1, 2
DROPPED_BITS = 11


def encode_step(step: int, groups: list[Group], tokens: TokenColumns) -> dict[str, Any]:
    """A step as the page's script reads it."""
    return {
        "step": step,
        "groups": [_encode_group(group) for group in groups],
        "length": len(tokens.token),
        "packed": pack(tokens),
    }


def encode_vocabulary(vocabulary: Vocabulary) -> dict[str, Any]:
    """The tokens' ids and strings, what is invisible made visible."""
    return {"ids": vocabulary.ids, "texts": [printable(text) for text in vocabulary.texts]}


def add_labels(steps: list[dict[str, Any]]) -> None:
    """Give every group a short name that tells its prompt from the others."""
    groups = [group for step in steps for group in step["groups"]]
    for group, label in zip(groups, labels([group["prompt"] for group in groups]), strict=True):
        group["label"] = label


def pack(tokens: TokenColumns) -> str:
    """Base64 of zlib of five 32-bit little-endian columns and one of bytes.

    They are: number in the vocabulary (uint32); score, weight, log-prob and entropy (float32 rounded to 12 bits after
    the point, four significant digits, which halves what zlib leaves of them); :data:`TRAINED` | :data:`EASED`.
    """
    flags = tokens.trained * np.uint8(TRAINED) | tokens.eased * np.uint8(EASED)
    numbers = (tokens.score, tokens.weight, tokens.log_prob, tokens.entropy)
    columns = [tokens.token.astype("<u4").tobytes(), *(_rounded(column).tobytes() for column in numbers)]
    return base64.b64encode(zlib.compress(b"".join([*columns, flags.tobytes()]))).decode("ascii")


def saturation(group: Group) -> float:
    """Distance from the threshold at which colours are full: the 95th percentile over the group's wrong responses."""
    distances = [
        abs(score - (response.tau or 0.0))
        for response in group.responses
        if not response.correct
        for score, inside in zip(response.scores, response.mask, strict=True)
        if inside and score is not None
    ]
    return float(np.quantile(distances, SATURATION_QUANTILE, method="lower")) if distances else 0.0


def _encode_group(group: Group) -> dict[str, Any]:
    first = group.responses[0]
    return {
        "uid": printable(group.uid),
        "prompt": printable(first.prompt),
        "tau": first.tau,
        "eta": first.eta,
        "mixed": group.mixed,
        "saturation": saturation(group),
        "responses": [_encode_response(response) for response in group.responses],
    }


def _encode_response(response: Response) -> dict[str, Any]:
    encoded = {
        "index": response.response_index,
        "reward": response.reward,
        "correct": response.correct,
        "advantage": response.advantage,
        "length": len(response.tokens),
        "trained": sum(response.mask),
        "eased": sum(map(response.eased, range(len(response.tokens)))),
    }
    if response.response != "".join(response.tokens):
        encoded["text"] = printable(response.response)
    return encoded


def _rounded(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    bits, dropped = values.astype("<f4").view("<u4"), np.uint32(DROPPED_BITS)
    rounded = (bits + np.uint32(1 << (DROPPED_BITS - 1))) >> dropped << dropped
    return np.where(np.isnan(values), bits, rounded).astype("<u4")
