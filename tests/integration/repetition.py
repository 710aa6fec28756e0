"""How far passes over the same batch are apart: not at all on the same cut, by rounding over cuts.

``python -m tests.integration.repetition`` measures it over the cuts of verl's FSDP engine that the tests run, with
``--megatron`` over those of its Megatron engine.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.integration.joining import score
from tests.integration.passes import Case, Rows, make_rows

BOUND = 1e-5
"""Of the largest |score| of the batch: how far a score, and the mean of a correct response's, may be from one cut to
another; τ by β times as much."""

Answers = Sequence[dict[str, Any]]
"""Of a pass: what its ranks with outputs returned."""


def run_twice(rank: int, models: str, batches: Sequence[Rows], cases: Sequence[Case]) -> list[list[str]]:
    """For every case and batch this rank's answers to the same pass twice, as :func:`twice` spells them."""
    from tests.integration.fsdp import build_engine, rows_of

    engines = ((build_engine(models, case), case) for case in cases)
    return [spelled for engine, case in engines for spelled in twice(engine, rows_of, batches, case)]


def twice(
    engine: Any, rows_of: Callable[[Any, Rows], list[int]], batches: Sequence[Rows], case: Case
) -> Iterator[list[str]]:
    """For every batch the answers to its pass twice, another batch in between; equal strings are equal bits."""
    for rows, other in zip(batches, reversed(batches), strict=True):
        passes = [score(engine, each, rows_of(engine, each), case) for each in (rows, other, rows)]
        yield [repr(passes[0]), repr(passes[2])]


def check_repeated(runs: Sequence[Sequence[Any]], passes: int) -> None:
    """Check what the ranks of several runs in new processes returned of :func:`run_twice`.

    Raises:
        AssertionError: a pass was not repeated bit for bit in its process or in another one.
    """
    for results in runs:
        scored = 0
        for of_rank in results:
            if isinstance(of_rank, Exception):
                raise of_rank
            assert len(of_rank) == passes
            for first, again in of_rank:
                assert first == again
                scored += "scores" in first
        assert scored >= passes
    assert all(results == runs[0] for results in runs)


def by_row(answers: Answers) -> tuple[Tensor, Tensor]:
    """Scores [T] of the rows' tokens, row by row, and the anchors [rows]."""
    rows = {}
    for found in answers:
        for row, scores, anchor in zip(found["mine"], found["scores"], found["anchors"], strict=True):
            rows[row] = scores, [anchor]
    scores, anchors = (torch.tensor([x for row in sorted(rows) for x in rows[row][i]]) for i in (0, 1))
    return scores, anchors


def differences(answers: Answers, others: Answers) -> tuple[float, float]:
    """Largest difference of the scores, and of the anchors, both over the largest |score|."""
    (scores, anchors), (their_scores, their_anchors) = by_row(answers), by_row(others)
    scored, anchored = ~scores.isnan(), ~anchors.isnan()
    assert torch.equal(scored, ~their_scores.isnan())
    assert torch.equal(anchored, ~their_anchors.isnan())
    largest = scores[scored].abs().max()
    apart = (scores - their_scores)[scored].abs().max() / largest
    return float(apart), float((anchors - their_anchors)[anchored].abs().max() / largest)


def same_computation(case: Case) -> tuple[object, ...]:
    """What scores depend on beside the batch; rows of zeros that pad the vocabulary take probability."""
    kind = case.model, case.dtype, case.vocabulary, case.vocabulary_multiple
    return *kind, case.anchor_includes_self, case.length_normalised


def pairs(cuts: Iterable[tuple[Case, Answers]]) -> Iterable[tuple[Case, Case, Answers, Answers]]:
    """Every two cuts that compute the same in float32."""
    alike = defaultdict(list)
    for case, answers in cuts:
        if case.dtype == "fp32":
            alike[same_computation(case)].append((case, answers))
    for members in alike.values():
        for (case, answers), (other, others) in combinations(members, 2):
            yield case, other, answers, others


def check_weights_alike(answers: Answers, others: Answers, rng: torch.Generator) -> int:
    """Check that two cuts select the same tokens but for those within the bound of τ, for β that put τ on a token.

    Returns:
        How many tokens were within the bound.

    Raises:
        AssertionError: they do not.
    """
    (scores, anchors), (their_scores, their_anchors) = by_row(answers), by_row(others)
    candidates = (~scores.isnan()).nonzero()[:, 0]
    # a lone correct response has no influence on others
    anchored = (~anchors.isnan() & (anchors != 0)).nonzero()[:, 0]
    largest, close = scores[candidates].abs().max(), 0
    for i, place in enumerate(candidates[torch.randperm(len(candidates), generator=rng)[:20]]):
        # τ is β times the mean of a correct response
        anchor = anchored[i % len(anchored)]
        beta = scores[place] / anchors[anchor]
        selected, theirs = scores > anchors[anchor] * beta, their_scores > their_anchors[anchor] * beta
        near = (scores - anchors[anchor] * beta).abs() <= (1 + abs(beta)) * BOUND * largest
        assert not (selected != theirs)[candidates][~near[candidates]].any()
        close += int(near[candidates].sum())
    return close


def check_cuts(cuts: Sequence[tuple[Case, Answers]]) -> int:
    """Check every two cuts that compute the same, and return how many such pairs there are.

    Raises:
        AssertionError: they differ by more than the bound, or weigh a token beyond it otherwise.
    """
    rng, compared = torch.Generator().manual_seed(0), 0
    for case, other, answers, others in pairs(cuts):
        assert max(differences(answers, others)) < BOUND, f"{case} and {other}"
        assert check_weights_alike(answers, others, rng) >= 20, "every β puts τ on a token"
        compared += 1
    return compared


def main() -> None:
    """Run the cuts and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megatron", action="store_true", help="Megatron's cuts instead of FSDP's")
    cuts = megatron_cuts() if parser.parse_args().megatron else fsdp_cuts()
    scores = anchors = 0.0
    compared = 0
    for _, _, answers, others in pairs(cuts):
        found = differences(answers, others)
        scores, anchors, compared = max(scores, found[0]), max(anchors, found[1]), compared + 1
    print(
        f"{len(cuts)} cuts, {compared} pairs that compute the same in float32: of the largest score, scores differ by"
    )
    print(f"at most {scores:.1e} and anchors by at most {anchors:.1e}")


def fsdp_cuts() -> list[tuple[Case, Answers]]:
    """Every case of ``test_fsdp_cuts`` with its answers."""
    from tests.integration.models import make_adapters, make_model
    from tests.integration.test_fsdp_cuts import SETS, results

    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        make_model(models / "tied", tied=True)
        make_model(models / "untied", tied=False)
        make_adapters(models)
        return [
            cut for name in SETS for cut in zip(SETS[name][1], answers_of_cases(results(models, name)), strict=True)
        ]


def megatron_cuts() -> list[tuple[Case, Answers]]:
    """Every case of Megatron's ``test_cuts`` that mbridge loads, with its answers."""
    from tests.integration.models import make_model
    from tests.megatron.test_cuts import THOROUGH, results

    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder)
        make_model(models / "tied", tied=True, layers=4)
        make_model(models / "untied", tied=False, layers=4)
        rows = make_rows(0, vocab_size=70)
        return [
            cut
            for ranks, cases in THOROUGH.items()
            for cut in zip(cases, answers_of_cases(results(models, rows, ranks, cases)), strict=True)
        ]


def answers_of_cases(by_rank: Sequence[Any]) -> list[Answers]:
    """By case, the answers of the ranks with outputs, from what each rank returned for all cases."""
    for result in by_rank:
        if isinstance(result, BaseException):
            raise result
    return [[found for found in of_case if found is not None] for of_case in zip(*by_rank, strict=True)]


if __name__ == "__main__":
    main()
