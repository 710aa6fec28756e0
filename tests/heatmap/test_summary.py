"""The summaries of small dumps, against values computed by hand."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from typing import Any

import pytest

from tests.heatmap.records import correct_record, record
from verl_nthr.heatmap.charts import charts
from verl_nthr.heatmap.columns import Vocabulary, step_of
from verl_nthr.heatmap.summary import BinShare, StepShare, StringShare, Summary, summarise
from verl_nthr.heatmap.token_dump import Group, parse_response


def summary_of(*steps: tuple[int, list[list[dict[str, Any]]]]) -> Summary:
    vocabulary = Vocabulary()
    found = []
    for number, groups in steps:
        members = [[parse_response(json.dumps(entry), "x") for entry in group] for group in groups]
        found.append(step_of(number, [Group("g", group) for group in members], vocabulary))
    return summarise(found, vocabulary.texts)


def test_the_largest_scores_are_finite_in_every_summary() -> None:
    largest = record(scores=[3.4e38, -3.4e38, 0.0], tau=-3.4e38, entropies=[3.4e38, -3.4e38, None])
    summary = summary_of((7, [[largest, correct_record(tau=-3.4e38, scores=[3.4e38] * 3)]]))
    assert json.loads(json.dumps(asdict(summary), allow_nan=False))["eased_tokens"] == summary.eased_tokens
    assert all(chart.bars for chart in charts(summary))


UNMIXED = [record(tau=None, eta=None, scores=[None] * 3, weights=[1.0] * 3)]
SEVENTH = (7, [[record(), correct_record()], UNMIXED])
EIGHTH = (
    8,
    [
        [
            record(
                tokens=["3", "so", "so"],
                token_ids=[13, 11, 11],
                scores=[4.0, 1.0, 9.0],
                weights=[0.5, 1.0, 1.0],
                mask=[1, 1, 0],
                entropies=[0.25, None, 1.0],
            ),
            correct_record(),
        ]
    ],
)


def test_counts_and_shares() -> None:
    summary = summary_of(EIGHTH, SEVENTH)
    assert (summary.responses, summary.groups, summary.mixed_groups) == (5, 3, 2)
    assert summary.steps == [StepShare(3, 1, 1 / 3, 7), StepShare(2, 1, 0.5, 8)]
    assert (summary.candidate_tokens, summary.eased_tokens, summary.eased_fraction) == (5, 2, 0.4)
    assert summary.most_eased == [StringShare(2, 1, 0.5, "3"), StringShare(2, 1, 0.5, "so")]


def test_by_position() -> None:
    shares = {share.low: (share.tokens, share.eased) for share in summary_of(SEVENTH, EIGHTH).by_position}
    assert len(shares) == 10
    assert {low: counts for low, counts in shares.items() if counts[0]} == {0.0: (2, 2), 0.3: (2, 0), 0.6: (1, 0)}


def test_histograms() -> None:
    histograms = summary_of(SEVENTH, EIGHTH).histograms
    # |s − τ| of the wrong responses are 0, 0.5, 1.5, 3, 4; their 98th percentile is 3 + 0.92 · (4 − 3)
    wrong = histograms["wrong"]
    assert len(wrong) == 22
    assert (wrong[0].low, wrong[-1].high) == (None, None)
    assert wrong[0].high == pytest.approx(-3.92)
    assert wrong[1].high == pytest.approx(-3.92 * 0.9)
    filled = [(entry.low, entry.high) for entry in wrong for _ in range(entry.tokens)]
    assert filled[0] == (None, wrong[0].high), "-4"
    for (low, high), margin in zip(filled[1:], (-0.5, 0.0, 1.5, 3.0), strict=True):
        assert low < margin <= high
    assert sum(entry.tokens for entry in wrong if entry.low is not None and entry.low >= 0) == 2, "those above τ"
    assert sum(entry.tokens for entry in histograms["correct"]) == 6


def test_by_entropy_has_as_many_tokens_in_each_bin() -> None:
    twenty = {
        "tokens": ["x"] * 20,
        "token_ids": [1] * 20,
        "mask": [1] * 20,
        "log_probs": [None] * 20,
        "entropies": [0.5 * number for number in reversed(range(20))],
        "scores": [2.0, 2.0] + [0.0] * 18,
        "weights": [0.5, 0.5] + [1.0] * 18,
    }
    bins = summary_of((1, [[record(**twenty), correct_record()]])).by_entropy
    assert [(entry.tokens, entry.eased, entry.share) for entry in bins] == [(2, 0, 0.0)] * 9 + [(2, 2, 1.0)]
    assert (bins[0].low, bins[-1].high) == (0.0, 9.5)
    assert all(lower.high == upper.low for lower, upper in itertools.pairwise(bins))


def test_equal_and_missing_entropies() -> None:
    equal = summary_of((1, [[record(entropies=[0.25] * 3), correct_record()]]))
    assert equal.by_entropy == [BinShare(3, 1, 1 / 3, 0.25, 0.25)]
    missing = summary_of((1, [[record(entropies=[None] * 3), correct_record()]]))
    assert missing.by_entropy == []


def test_nothing_that_could_be_spared() -> None:
    summary = summary_of((1, [UNMIXED]))
    assert (summary.candidate_tokens, summary.eased_fraction, summary.most_eased) == (0, None, [])
    assert (summary.histograms, summary.by_entropy) == ({"wrong": [], "correct": []}, [])
    assert all(share.share is None for share in summary.by_position)


def test_without_a_threshold_everything_is_spared() -> None:
    summary = summary_of((1, [[record(tau=None, weights=[0.5] * 3), correct_record(tau=None)]]))
    assert (summary.candidate_tokens, summary.eased_tokens) == (3, 3)
    assert summary.histograms == {"wrong": [], "correct": []}


def test_strings_are_counted_by_their_text_whatever_their_id() -> None:
    same = record(tokens=["a", "a", "b"], scores=[2.0, 2.0, 0.0], weights=[0.5, 0.5, 1.0])
    assert summary_of((1, [[same, correct_record()]])).most_eased == [StringShare(2, 2, 1.0, "a")]
