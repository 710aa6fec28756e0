"""The options of ``algorithm.nthr``, of the loss terms and of iGRPO, as nested mappings of anything."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import strategies as st
from omegaconf import OmegaConf

from fuzzing.target import Target
from fuzzing.tensors import numbers
from verl_nthr.integration.config.estimators import estimator_of
from verl_nthr.integration.config.loss_options import LossTerms
from verl_nthr.integration.config.options import CHOICES, NTHRConfigError, NTHROptions
from verl_nthr.integration.igrpo.options import DraftOptions

TEMPLATES = (
    "{prompt}{draft}",
    "{prompt}",
    "{draft",
    "{0}",
    "{prompt.__class__}{draft}",
    "{prompt:>99999999999}{draft}",
)

names = [field.name for field in dataclasses.fields(NTHROptions)]
nested = {
    field.name: [inner.name for inner in dataclasses.fields(field.default_factory)]
    for field in dataclasses.fields(NTHROptions)
    if dataclasses.is_dataclass(field.default_factory)
}
choices = sorted({choice for allowed in CHOICES.values() for choice in allowed if choice is not None})
scalars = st.one_of(numbers, st.sampled_from(choices), st.integers(), st.floats(), st.text(max_size=8), st.none())
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
keys = st.one_of(st.sampled_from(names), st.text(max_size=6), st.integers())
inner_keys = st.sampled_from([*{name for inner in nested.values() for name in inner}, "", "rh"])
nodes = st.one_of(
    anything,
    st.dictionaries(keys, st.one_of(anything, st.dictionaries(inner_keys, scalars, max_size=2)), max_size=4),
)


def check_options(node: Any) -> None:
    """Options that are accepted are read back from themselves, and name an estimator."""
    options = NTHROptions.from_config({"nthr": node})
    assert NTHROptions.from_config({"nthr": dataclasses.asdict(options)}) == options
    estimator = estimator_of({"algorithm": {"adv_estimator": "nthr", "nthr": node}})
    assert estimator is not None
    assert options.weighting_rule(estimator.weighting) is not None
    options.rule(estimator.base)


def check_omegaconf(node: dict[str, Any]) -> None:
    """The same as a node of OmegaConf."""
    NTHROptions.from_config(OmegaConf.create({"nthr": node}))


def check_loss_terms(node: dict[str, Any]) -> None:
    """Coefficients that are accepted can be multiplied with."""
    terms = LossTerms.from_config(node)
    assert terms.positive_nll_coef * 0.0 == terms.llds_coef * 0.0 == 0.0


def check_drafts(entry: dict[str, Any]) -> None:
    """A template that is accepted shows prompt and draft as they are."""
    message = DraftOptions.from_entry(entry).with_draft("the {prompt}", "the {draft}")
    assert "the {prompt}" in message
    assert "the {draft}" in message


plain = st.one_of(st.sampled_from((0, 0.5, -1, True, None, "x", "balanced", "p", "", 1e400)), st.integers())
terms = st.sampled_from([field.name for field in dataclasses.fields(LossTerms)])
templates = st.one_of(st.sampled_from(TEMPLATES), st.text("{}prdomtaf!:.0", max_size=30), scalars)
entries = st.one_of(
    st.fixed_dictionaries({"template": templates}, optional={"drafts": scalars, "_target_": st.just("x")}),
    st.dictionaries(st.one_of(st.sampled_from(("drafts", "draft")), st.text(max_size=5)), anything, max_size=3),
)

TARGETS = (
    Target("options", nodes, check_options, (NTHRConfigError,), share=2.0),
    Target(
        "options_omegaconf",
        st.dictionaries(
            st.sampled_from(names), st.one_of(plain, st.dictionaries(inner_keys, plain, max_size=2)), max_size=3
        ),
        check_omegaconf,
        (NTHRConfigError,),
    ),
    Target("loss_terms", st.dictionaries(terms, scalars, max_size=3), check_loss_terms, (ValueError,)),
    Target("igrpo", entries, check_drafts, (ValueError,)),
)
