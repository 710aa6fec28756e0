"""What the benchmarks measure on: shapes, batches, features and responses."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from benchmarks.batch import make_batch
from benchmarks.responses import draw_responses
from benchmarks.shapes import SHAPES
from benchmarks.synthetic import Size, make_input
from verl_nthr.influence.sharding import Sharding


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("qwen2.5-0.5b", 494_032_768),
        ("qwen2.5-1.5b", 1_543_714_304),
        ("qwen2.5-3b", 3_085_938_688),
        ("qwen2.5-7b", 7_615_616_512),
    ],
)
def test_a_shape_has_the_parameters_of_the_released_model(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(SHAPES[name].config())
    assert model.num_parameters() == parameters


def test_a_batch_is_ragged_and_every_group_mixed() -> None:
    batch = make_batch(groups=3, rollouts=4, response=16, prompt=8, vocabulary=100)
    assert sorted(batch.group) == [0] * 4 + [1] * 4 + [2] * 4
    for group in range(3):
        rows = [row for row in range(12) if batch.group[row] == group]
        assert sorted(batch.correct[row] for row in rows) == [False, False, True, True]
        assert len({tuple(batch.prompts[row]) for row in rows}) == 1
    lengths = [len(response) for response in batch.responses]
    assert min(lengths) >= 4
    assert max(lengths) <= 16
    assert len(set(lengths)) > 1
    assert batch.tokens == sum(lengths) + sum(map(len, batch.prompts))
    assert batch.longest == max(len(p) + len(r) for p, r in zip(batch.prompts, batch.responses, strict=True))
    entries = [{t for r, g in zip(batch.responses, batch.group, strict=True) if g == x for t in r} for x in range(3)]
    assert batch.entries_per_group() == pytest.approx(sum(map(len, entries)) / 3)
    assert batch == make_batch(groups=3, rollouts=4, response=16, prompt=8, vocabulary=100)
    assert batch != make_batch(groups=3, rollouts=4, response=16, prompt=8, vocabulary=100, seed=1)


def test_features_have_the_size_that_is_asked_for() -> None:
    size = Size(groups=3, rollouts=2, response=5, entries=4, hidden=6)
    found = make_input(size, torch.device("cpu"))
    features = found.features
    assert features.hidden.shape == (30, 6)
    assert torch.bincount(features.response).tolist() == [5] * 6
    assert torch.bincount(features.group).tolist() == [10] * 3
    for group in range(3):
        assert len(features.token_ids[features.group == group].unique()) == 4
    assert found.correct.tolist() == [True, False] * 3


def test_the_parts_of_ranks_are_the_whole() -> None:
    found = make_input(Size(groups=2, rollouts=3, response=4, entries=3, hidden=5), torch.device("cpu"))
    parts = [found.part(rank, 2) for rank in range(2)]
    assert [part.features.response.unique().tolist() for part in parts] == [[0, 2, 4], [1, 3, 5]]
    assert sum(len(part.features) for part in parts) == len(found.features)
    assert torch.equal(torch.cat([part.keys() for part in parts]).unique(), found.keys())


def test_scores_of_an_input_are_finite_and_have_anchors() -> None:
    found = make_input(Size(groups=2, rollouts=2, response=4, entries=3, hidden=5), torch.device("cpu"))
    scores, anchors = found.score(Sharding())
    assert scores.isfinite().all()
    assert anchors.isfinite().tolist() == [True, False, True, False]


def test_drawn_responses_look_like_a_trained_model() -> None:
    found = draw_responses(0, groups=4, rollouts=4, response=32, hidden=128, vocabulary=1024)
    log_softmax = torch.log_softmax(found.hidden @ found.unembedding.T, -1)
    chosen = log_softmax.gather(1, found.token_ids[:, None])[:, 0]
    most_likely = (log_softmax.argmax(-1) == found.token_ids).float().mean()
    assert 0.6 < float(most_likely) < 1
    assert float((chosen.exp() > 0.99).float().mean()) > 0.3
    assert float((chosen.exp() < 0.5).float().mean()) > 0.02
    states = torch.nn.functional.normalize(found.hidden, dim=-1)
    group = found.group[found.response]
    similarity, same = states @ states.T, group[:, None] == group[None]
    assert float(similarity[same].mean()) > 0.4
    assert abs(float(similarity[~same].mean())) < 0.2
    for x in range(4):
        assert set(found.correct[found.group == x].tolist()) == {True, False}
