"""Parts of a vocabulary."""

from __future__ import annotations

import itertools

import torch
from hypothesis import given
from hypothesis import strategies as st

from verl_nthr.influence.vocabulary import GroupVocabulary, vocabulary_keys

VOCAB_SIZE, GROUPS = 13, 3

tokens = st.lists(st.tuples(st.integers(0, GROUPS - 1), st.integers(0, VOCAB_SIZE - 1)), max_size=20)
bounds = st.lists(st.integers(0, VOCAB_SIZE), max_size=3).map(lambda inner: [0, *sorted(inner), VOCAB_SIZE])


@given(tokens, bounds, st.booleans())
def test_parts_hold_every_entry_once_and_know_which_tokens_are_theirs(
    held: list[tuple[int, int]], bounds: list[int], full: bool
) -> None:
    entries = [
        set(range(VOCAB_SIZE)) if full else {token for group, token in held if group == x} for x in range(GROUPS)
    ]
    if full:
        vocabulary = GroupVocabulary.whole(GROUPS, VOCAB_SIZE, torch.device("cpu"))
    else:
        pairs = torch.tensor(held, dtype=torch.int64).view(-1, 2)
        keys = vocabulary_keys(pairs[:, 0], pairs[:, 1], VOCAB_SIZE)
        vocabulary = GroupVocabulary.from_keys(keys, GROUPS, VOCAB_SIZE)
    for start, stop in itertools.pairwise(bounds):
        part = vocabulary.part(start, stop)
        for group in range(GROUPS):
            wanted = sorted(token for token in entries[group] if start <= token < stop)
            positions = torch.arange(part.offsets[group], part.offsets[group + 1])
            assert part.size(group) == len(wanted)
            assert part.token_ids(positions).tolist() == wanted
            columns, found = part.locate(torch.full((VOCAB_SIZE,), group), torch.arange(VOCAB_SIZE))
            assert found.tolist() == [token in wanted for token in range(VOCAB_SIZE)]
            assert [wanted[column] for column in columns[found].tolist()] == wanted
            assert not columns[~found].any()
