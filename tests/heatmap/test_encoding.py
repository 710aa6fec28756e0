"""The page's script unpacks what was dumped."""

from __future__ import annotations

import base64
import json
import math
import random
import struct
import zlib

import pytest

from tests.heatmap.records import correct_record, record
from verl_nthr.heatmap.columns import Vocabulary, step_of
from verl_nthr.heatmap.encoding import encode_step, encode_vocabulary, pack, saturation
from verl_nthr.heatmap.token_dump import Group, parse_response


def group_of(*entries: dict[str, object]) -> Group:
    return Group("g", [parse_response(json.dumps(entry), "x") for entry in entries])


def test_columns_keep_four_digits() -> None:
    rng = random.Random(0)
    length = 200
    values = [[rng.gauss(0, 1) * 10 ** rng.randint(-6, 6) for _ in range(length)] for _ in range(4)]
    values[2][5] = values[3][7] = None
    ids = [rng.randrange(50) for _ in range(length)]
    mask = [rng.randrange(2) for _ in range(length)]
    wrong = record(
        tokens=[str(number) for number in ids],
        token_ids=ids,
        mask=mask,
        **dict(zip(("scores", "weights", "log_probs", "entropies"), values, strict=True)),
    )
    vocabulary = Vocabulary()
    group = group_of(wrong, correct_record())
    total = length + 3
    tokens = step_of(7, [group], vocabulary).tokens
    raw = zlib.decompress(base64.b64decode(pack(tokens)))
    assert len(raw) == 21 * total
    words = struct.unpack(f"<{total}I{4 * total}f{total}B", raw)
    assert [vocabulary.ids[word] for word in words[:length]] == ids
    for column, dumped in enumerate(values, start=1):
        for found, value in zip(words[column * total : column * total + length], dumped, strict=True):
            assert math.isnan(found) if value is None else found == pytest.approx(value, rel=1.3e-4)
    flags = words[5 * total :]
    assert [flag & 1 for flag in flags] == [*mask, 1, 1, 1]
    assert [bool(flag & 2) for flag in flags[:length]] == [group.responses[0].eased(i) for i in range(length)]
    assert 0 < sum(bool(flag & 2) for flag in flags) < length


def test_facts_of_groups_and_responses() -> None:
    group = group_of(record(response="so3"), correct_record())
    vocabulary = Vocabulary()
    encoded = encode_step(7, [group], step_of(7, [group], vocabulary).tokens)
    (facts,) = encoded["groups"]
    responses = facts.pop("responses")
    assert facts == {"uid": "g", "prompt": "1+1=?", "tau": 1.0, "eta": 0.5, "mixed": True, "saturation": 1.5}
    assert responses[0] == {
        "index": 0, "reward": 0.0, "correct": False, "advantage": -0.75, "length": 3, "trained": 3, "eased": 1,
        "text": "so3",
    }  # fmt: skip
    assert "text" not in responses[1], "its tokens spell it"
    assert encode_vocabulary(vocabulary) == {"ids": [11, 12, 13], "texts": ["so", " ", "3"]}


def test_colours_are_full_at_the_95th_percentile_of_wrong_answers() -> None:
    def of(*entries: dict[str, object]) -> float:
        return saturation(group_of(*entries))

    # τ = 1; distances 1.5, 0.5, 4: by lower rank the 95th percentile of three is the second
    assert of(record(), correct_record(scores=[900.0, 0.0, 0.0])) == 1.5
    assert of(record(mask=[1, 0, 0]), correct_record()) == 1.5
    assert of(record(tau=None), correct_record()) == 2.5
    assert of(correct_record()) == 0.0
