"""Scores and selections under each numeric choice, against the double sums in float64.

Errors are parts of the largest score of the token's group; selections are those of the tokens of wrong responses, at
β = 1 and at β = 0. On the CPU, products in TF32 and bf16 are emulated: operands rounded, sums in float32. The reduction
in bf16 is emulated everywhere: parts of eight ranks, rounded before and after each addition.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

from benchmarks import report
from benchmarks.rounding import MANTISSA_BITS, products_in
from benchmarks.scoring import Scoring
from verl_nthr import NTHRResult, nthr_weights_reference
from verl_nthr.arguments import positive_int

MODELS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
VOCABULARIES = ("response", "full")
LOG_Z = ("own logit", "verl's logit", "logsumexp", "recomputed")
"""Source of log Z.

own logit: h·W_y/T − log π in float32, as everywhere in this package. verl's logit: with the logit as the model rounded
it. logsumexp: over the whole vocabulary, of the model's logits. recomputed: the same of logits computed again in
float32, and log π with it, which takes a second pass over the vocabulary.
"""
LOG_PI = ("float32", "rounded")
"""log π of the model's logits in float32, or rounded to the model's dtype, as verl returns it without flash-attn."""
REDUCTIONS = {"float32": None, "bfloat16": torch.bfloat16}
"""Dtype in which eight ranks exchange M⁺."""
SIZE = {"groups": 4, "rollouts": 8, "response": 32, "hidden": 256, "vocabulary": 8192}
QUICK_SIZE = {"groups": 2, "rollouts": 4, "response": 8, "hidden": 32, "vocabulary": 256}

LOGIT_NOISE = 2.0
"""Standard deviation of the logits of tokens that are not meant."""
SHARED, OWN = 0.7, 0.5
"""Scale of the part of the hidden states that a group has in common, and of that which each token has alone."""
PEAKS = (3.5, 11.0)
"""Lowest and highest pull towards the meant token: from hesitation between many tokens to 1 − π of about 1e-7."""


@dataclass(frozen=True)
class Choice:
    """How scores are computed."""

    model: str
    """Dtype of hidden states, output layer and the pass's logits, a key of :data:`MODELS`."""

    vocabulary: str
    """One of :data:`VOCABULARIES`."""

    products: str
    """Precision of matrix products, a key of :data:`benchmarks.rounding.MANTISSA_BITS`."""

    log_z: str
    """One of :data:`LOG_Z`."""

    log_pi: str = "float32"
    """One of :data:`LOG_PI`."""

    reduction: str = "float32"
    """A key of :data:`REDUCTIONS`."""


@dataclass(frozen=True)
class Responses:
    """T tokens in R responses to G prompts, with the model's output layer; axes as in ``nthr_weights``."""

    hidden: Tensor
    token_ids: Tensor
    response: Tensor
    group: Tensor
    correct: Tensor
    unembedding: Tensor

    def rounded(self, dtype: torch.dtype) -> Responses:
        """The same tokens, with hidden states and output layer in ``dtype``."""
        return replace(self, hidden=self.hidden.to(dtype), unembedding=self.unembedding.to(dtype))


def main() -> int:
    """Run the benchmark; 0 if everything went well, else 1 with the reason on standard error."""
    parser = report.make_parser(__doc__)
    parser.add_argument("--seeds", type=positive_int, default=5, metavar="N", help="seeds 0 to N - 1 (%(default)s)")
    parser.add_argument(
        "--peaks",
        type=float,
        nargs=2,
        default=PEAKS,
        metavar=("LOW", "HIGH"),
        help="pull towards the meant token; 8 10 makes nearly every token near-certain (%(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="small batches and one seed")
    return report.run(measure, parser.parse_args())


def measure(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Compare all choices on the same batches, print the tables, and return the result."""
    size, seeds = (QUICK_SIZE, 1) if args.quick else (SIZE, args.seeds)
    choices = [Choice(*each) for each in itertools.product(MODELS, VOCABULARIES, MANTISSA_BITS, LOG_Z)]
    # in float32 there is nothing to compute again
    again = [("float32", "verl's logit"), ("float32", "recomputed")]
    choices = [choice for choice in choices if (choice.model, choice.log_z) not in again]
    half = Choice("bfloat16", "response", "float32", "own logit")
    choices += [replace(half, log_z=log_z, log_pi="rounded") for log_z in LOG_Z[:3]] + [
        replace(half, reduction="bfloat16")
    ]
    to_own: dict[Choice, list[Tensor]] = {choice: [] for choice in choices}
    to_float32: dict[Choice, list[Tensor]] = {choice: [] for choice in choices if choice.model != "float32"}
    selected = []
    for seed in range(seeds):
        responses = draw_responses(seed, tuple(args.peaks), **size)
        expected = {
            (model, vocabulary): reference(responses.rounded(dtype), vocabulary)
            for (model, dtype), vocabulary in itertools.product(MODELS.items(), VOCABULARIES)
        }
        selected.append(expected["float32", "response"].selected[~responses.correct[responses.response]])
        for choice in choices:
            found = decide(responses.rounded(MODELS[choice.model]), choice, args.device)
            to_own[choice].append(distance(*found, expected[choice.model, choice.vocabulary], responses))
            if choice in to_float32:
                to_float32[choice].append(distance(*found, expected["float32", choice.vocabulary], responses))
    result = {
        "size": size,
        "seeds": seeds,
        "wrong_tokens": sum(map(len, selected)),
        "selected_by_reference": float(torch.cat(selected).double().mean()),
        "choices": [
            asdict(choice)
            | summary(to_own[choice])
            | ({"to_float32_model": summary(to_float32[choice])} if choice in to_float32 else {})
            for choice in choices
        ],
    }
    print_result(result, console)
    return result


def draw_responses(
    seed: int, peaks: tuple[float, float], *, groups: int, rollouts: int, response: int, hidden: int, vocabulary: int
) -> Responses:
    """Draw responses: each position means a token of its group's pool, and the token is sampled from the softmax.

    Args:
        seed: of everything.
        peaks: as :data:`PEAKS`.
        groups: G.
        rollouts: responses per group; half of them are correct.
        response: tokens of the longest response; lengths are uniform from a half of it.
        hidden: D.
        vocabulary: V.
    """
    rng = torch.Generator().manual_seed(seed)
    scale = LOGIT_NOISE / ((SHARED**2 + OWN**2) * hidden) ** 0.5
    unembedding = scale * torch.randn(vocabulary, hidden, generator=rng)
    group = torch.arange(groups).repeat_interleave(rollouts)
    lengths = torch.randint(max(1, response // 2), response + 1, (len(group),), generator=rng)
    of_response = torch.repeat_interleave(torch.arange(len(group)), lengths)
    of_group = group[of_response]
    pools = torch.randint(vocabulary, (groups, response), generator=rng)
    meant = pools[of_group, torch.randint(response, of_group.shape, generator=rng)]
    pull = peaks[0] + (peaks[1] - peaks[0]) * torch.rand(len(meant), 1, generator=rng)
    shared = torch.randn(groups, hidden, generator=rng)[of_group]
    own = torch.randn(len(meant), hidden, generator=rng)
    states = SHARED * shared + OWN * own + pull * unembedding[meant] / (scale * hidden**0.5)
    probabilities = torch.softmax(states.double() @ unembedding.double().T, dim=-1)
    return Responses(
        hidden=states,
        token_ids=torch.multinomial(probabilities, 1, generator=rng)[:, 0],
        response=of_response,
        group=group,
        correct=torch.arange(len(group)) % 2 == 0,
        unembedding=unembedding,
    )


def reference(responses: Responses, vocabulary: str) -> NTHRResult:
    """The double sums in float64."""
    return nthr_weights_reference(**vars(responses), temperature=1.0, vocabulary=vocabulary)


@torch.no_grad()
def decide(responses: Responses, choice: Choice, device: str) -> tuple[Tensor, Tensor]:
    """Scores [T] and selected tokens [T] by the package's own functions."""
    tensors = {name: tensor.to(device) for name, tensor in vars(responses).items()}
    hidden, token_ids, weight = (tensors[name] for name in ("hidden", "token_ids", "unembedding"))
    logits = F.linear(hidden, weight)
    with products_in(choice.products, device):
        if choice.log_z == "recomputed":
            logits = F.linear(hidden.float(), weight.float())
        label_logits = logits.gather(1, token_ids[:, None])[:, 0].float()
        log_normalizer = torch.logsumexp(logits.float(), dim=-1)
        log_probs = torch.log_softmax(logits.float(), dim=-1).gather(1, token_ids[:, None])[:, 0]
        if choice.log_pi == "rounded":
            log_probs = log_probs.to(logits.dtype).float()
        if choice.log_z == "own logit":
            log_normalizer = torch.linalg.vecdot(hidden.float(), weight[token_ids].float()) - log_probs
        elif choice.log_z == "verl's logit":
            log_normalizer = label_logits - log_probs
        scoring = Scoring(**tensors, log_probs=log_probs, log_normalizer=log_normalizer)
        scores, anchors = scoring.scores(choice.vocabulary, exchanged=REDUCTIONS[choice.reduction])
    return scores.cpu(), scoring.selected(scores, anchors).cpu()


def distance(scores: Tensor, selected: Tensor, expected: NTHRResult, responses: Responses) -> Tensor:
    """Compare with the reference.

    Returns:
        [T, 3]: error as a part of the group's largest score; 1 if the selection changed at β = 1, and at β = 0, else 0,
        nan in correct ones.
    """
    group = responses.group[responses.response]
    largest = torch.zeros(int(group.max()) + 1, dtype=torch.float64)
    largest.scatter_reduce_(0, group, expected.scores.abs(), "amax")
    error = (scores.double() - expected.scores).abs() / largest[group]
    changed = torch.stack([selected != expected.selected, (scores > 0) != (expected.scores > 0)], dim=1).double()
    changed[responses.correct[responses.response]] = torch.nan
    return torch.cat([error[:, None], changed], dim=1)


def summary(distances: list[Tensor]) -> dict[str, float]:
    """``max_error`` and ``rms_error`` over all tokens; changed selections as a part of those of wrong responses."""
    error, changed, changed_at_0 = torch.cat(distances).unbind(1)
    return {
        "max_error": float(error.max()),
        "rms_error": float(error.square().mean().sqrt()),
        "changed_selections": float(changed.nanmean()),
        "changed_at_beta_0": float(changed_at_0.nanmean()),
    }


def print_result(result: dict[str, Any], console: Console) -> None:
    """A table for each dtype of the model."""
    for model in MODELS:
        rows = [row for row in result["choices"] if row["model"] == model]
        names = ["vocabulary", "products", "log_z", "log_pi", "reduction"]
        headings = ["vocabulary", "products", "log Z", "log π", "M⁺ sent in", "largest", "RMS", "β = 1", "β = 0"]
        cells = [[*(row[name] for name in names), *_figures(row)] for row in rows]
        if model != "float32":
            headings += ["to float32: largest", "RMS", "β = 1", "β = 0"]
            cells = [line + _figures(row["to_float32_model"]) for line, row in zip(cells, rows, strict=True)]
        report.print_table(f"error of scores, model in {model}, {result['seeds']} seeds", headings, cells, console)
    console.print(
        f"The reference selects {100 * result['selected_by_reference']:.1f} % of {result['wrong_tokens']} tokens of "
        "wrong answers.",
        highlight=False,
    )


def _figures(row: dict[str, Any]) -> list[str]:
    changed = (f"{100 * row[name]:.2f} %" for name in ("changed_selections", "changed_at_beta_0"))
    return [f"{row['max_error']:.1e}", f"{row['rms_error']:.1e}", *changed]


if __name__ == "__main__":
    sys.exit(main())
