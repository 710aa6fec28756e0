"""The vocabulary entries of prompt groups."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from verl_nthr.influence.vocabulary import GroupVocabulary, vocabulary_keys

VOCAB_SIZE, GROUPS = 13, 3

tokens = st.lists(st.tuples(st.integers(0, GROUPS - 1), st.integers(0, VOCAB_SIZE - 1)), max_size=20)


@given(tokens, st.booleans())
def test_every_group_has_its_own_entries_in_order(held: list[tuple[int, int]], full: bool) -> None:
    entries = [
        sorted(range(VOCAB_SIZE) if full else {token for group, token in held if group == x}) for x in range(GROUPS)
    ]
    if full:
        vocabulary = GroupVocabulary.whole(GROUPS, VOCAB_SIZE, torch.device("cpu"))
    else:
        pairs = torch.tensor(held, dtype=torch.int64).view(-1, 2)
        keys = vocabulary_keys(pairs[:, 0], pairs[:, 1], VOCAB_SIZE)
        vocabulary = GroupVocabulary.from_keys(keys, GROUPS, VOCAB_SIZE)
        assert vocabulary.unique_token_ids().tolist() == sorted({token for _, token in held})
    for group, wanted in enumerate(entries):
        positions = torch.arange(vocabulary.offsets[group], vocabulary.offsets[group + 1])
        assert vocabulary.size(group) == len(wanted)
        assert vocabulary.token_ids(positions).tolist() == wanted
        columns = vocabulary.columns(torch.full((len(wanted),), group), torch.tensor(wanted, dtype=torch.int64))
        assert columns.tolist() == list(range(len(wanted)))
