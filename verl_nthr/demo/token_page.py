"""Builds a self-contained HTML page in which the tokens of wrong answers are coloured by their NTHR score."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

import jinja2

from verl_nthr.heatmap.token_dump import Group, Response, dumped_steps, read_step

TEMPLATE = "token_page.html.j2"
SATURATION_QUANTILE = 0.95
NARROW_CHARACTERS = 18
INVISIBLE = frozenset(("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"))
"""Unicode categories without a glyph of their own: control, format (also bidirectional), unassigned, surrogates."""


@dataclass(frozen=True)
class TokenView:
    """How one token is shown."""

    text: str
    """The token, what is invisible made visible."""

    breaks: int
    """Line feeds in the token, which the page follows."""

    strength: float
    """Strength of the colour from 0 (at the threshold) to 1."""

    side: str
    """``above`` or ``below`` the threshold, or empty for a token that is not coloured."""

    spared: bool
    """Whether the token's penalty is reduced."""

    outside: bool
    """Whether the token takes no part in the training."""

    hint: str
    """What a reader sees who points at it."""


@dataclass(frozen=True)
class ResponseView:
    """How one response is shown."""

    response: Response
    """The record."""

    tokens: list[TokenView]
    """Its tokens."""

    spared: int
    """Number of tokens spared."""


@dataclass(frozen=True)
class GroupView:
    """How one prompt group is shown."""

    prompt: str
    """The prompt, what is invisible made visible."""

    tau: str
    """The threshold."""

    eta: str
    """The factor."""

    correct: int
    """Number of correct responses."""

    saturation: float
    """Distance from the threshold at which the colours are full."""

    narrow: bool
    """Whether all lines are so short that many responses fit side by side."""

    responses: list[ResponseView]
    """Wrong answers first."""


@dataclass(frozen=True)
class StepView:
    """How one training step is shown."""

    step: int
    """The training step."""

    mixed: int
    """Number of mixed groups in the step."""

    total: int
    """Number of groups in the step."""

    groups: list[GroupView]
    """The groups shown."""


def write_page(dump_folder: Path, page: Path, title: str, groups_per_step: int = 3) -> bool:
    """Write a page of the first and the last dumped step.

    Args:
        dump_folder: with one file a step.
        page: the HTML file to write.
        title: heading of the page.
        groups_per_step: mixed groups shown of each step.

    Returns:
        False, and nothing is written, if there is no dump.

    Raises:
        DumpError: a dump that cannot be read.
    """
    files = list(dumped_steps(dump_folder).items())
    if not files:
        return False
    chosen = files if len(files) == 1 else [files[0], files[-1]]
    steps = [view_step(step, read_step(path), groups_per_step) for step, path in chosen]
    page.write_text(render(title, steps), encoding="utf-8")
    return True


def render(title: str, steps: list[StepView]) -> str:
    """The page as text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("verl_nthr.demo", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(title=title, steps=steps)


def view_step(step: int, groups: list[Group], limit: int) -> StepView:
    """``limit`` mixed groups of a step whose success rates are spread evenly, as far as there are such groups."""
    mixed = sorted((group for group in groups if group.mixed), key=lambda group: group.uid)
    left = list(mixed)
    chosen = []
    for rank in range(1, min(limit, len(mixed)) + 1):
        target = rank / (limit + 1)
        nearest = min(left, key=lambda group: abs(_success_rate(group) - target))
        left.remove(nearest)
        chosen.append(view_group(nearest))
    return StepView(step, len(mixed), len(groups), chosen)


def view_group(group: Group) -> GroupView:
    """A group with the scale of its colours: full at the 95th percentile of the distance from the threshold."""
    first = group.responses[0]
    centre = first.tau if first.tau is not None else 0.0
    distances = sorted(
        abs(score - centre)
        for response in group.responses
        if not response.correct
        for score, inside in zip(response.scores, response.mask, strict=True)
        if inside and score is not None
    )
    saturation = distances[int(SATURATION_QUANTILE * (len(distances) - 1))] if distances else 0.0
    ordered = sorted(group.responses, key=lambda response: (response.correct, response.response_index))
    return GroupView(
        prompt=printable(first.prompt),
        tau="−∞" if first.tau is None and first.eta is not None else number(first.tau),
        eta=number(first.eta),
        correct=sum(response.correct for response in group.responses),
        saturation=saturation,
        narrow=all(len(line) <= NARROW_CHARACTERS for response in ordered for line in response.response.split("\n")),
        responses=[view_response(response, centre, saturation) for response in ordered],
    )


def view_response(response: Response, centre: float, saturation: float) -> ResponseView:
    """A response; only the tokens of a wrong one are coloured."""
    tokens = []
    for index, text in enumerate(response.tokens):
        score, inside = response.scores[index], bool(response.mask[index])
        coloured = inside and not response.correct and score is not None
        distance = score - centre if coloured else 0.0
        tokens.append(
            TokenView(
                text=printable(text) or "∅",
                breaks=text.count("\n"),
                strength=min(1.0, abs(distance) / saturation) if saturation else 0.0,
                side=("above" if distance > 0 else "below") if coloured else "",
                spared=response.spared(index),
                outside=not inside,
                hint=_hint(response, index),
            )
        )
    return ResponseView(response, tokens, sum(token.spared for token in tokens))


def printable(text: str) -> str:
    """``text`` with every invisible character replaced by a visible sign; spaces stay."""
    return "".join(map(_sign, text))


def number(value: float | None) -> str:
    """Three significant digits with a real minus sign; a dash for None."""
    return "–" if value is None else f"{value:.3g}".replace("-", "−")


def _sign(character: str) -> str:
    if character == "\n":
        return "↵"
    if character < " ":
        return chr(0x2400 + ord(character))
    if character == "\x7f":
        return "␡"
    return f"⟨U+{ord(character):04X}⟩" if unicodedata.category(character) in INVISIBLE else character


def _hint(response: Response, index: int) -> str:
    parts = [
        f"“{printable(response.tokens[index])}”  id {response.token_ids[index]}",
        f"score {number(response.scores[index])}",
        f"weight {number(response.weights[index])}",
        f"log-prob {number(response.log_probs[index])}",
    ]
    if not response.mask[index]:
        parts.append("not trained on")
    elif response.spared(index):
        parts.append("spared")
    return "  ·  ".join(parts)


def _success_rate(group: Group) -> float:
    return sum(response.correct for response in group.responses) / len(group.responses)
