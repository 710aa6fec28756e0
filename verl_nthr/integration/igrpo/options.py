"""Options of iGRPO's agent loop, and a check of the settings of verl that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from verl_nthr.integration.config.nodes import RENAMED, read_options
from verl_nthr.integration.config.run import Caution, Findings, Problem
from verl_nthr.text import quoted

TARGET = "verl_nthr.integration.igrpo.agent_loop.IGRPO"
LOOPS_FILE = "actor_rollout_ref.rollout.agent.agent_loop_config_path"
DEFAULT_LOOP = "actor_rollout_ref.rollout.agent.default_agent_loop"


@dataclass(frozen=True)
class DraftOptions:
    """Options of iGRPO; every field is a key beside ``_target_`` in the file of agent loops.

    Raises:
        ValueError: a bad value, as ``name=value: use ...``.
    """

    drafts: int = 4
    """Drafts per prompt; ``actor_rollout_ref.rollout.n`` is the number of responses to train on."""

    template: str = "{prompt}\n\nA previous attempt:\n{draft}\n\nSolve it again, and improve on this attempt."
    """New last message of the prompt, made from ``{prompt}`` (the original message) and ``{draft}``. The default
    wording is ours, not the paper's."""

    def __post_init__(self) -> None:
        if isinstance(self.drafts, bool) or not isinstance(self.drafts, int) or self.drafts < 1:
            raise ValueError(f"drafts={quoted(self.drafts)}: use a whole number of at least 1")
        if _places(self.template) != {("prompt", "", None), ("draft", "", None)}:
            raise ValueError(
                f"template={quoted(self.template)}: use a text with {{prompt}} and {{draft}} in it, and {{{{ and }}}} "
                "for other braces"
            )

    def with_draft(self, prompt: str, draft: str) -> str:
        """Fill a prompt and a draft into the template."""
        return self.template.format(prompt=prompt, draft=draft)

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any]) -> DraftOptions:
        """Read an entry of the file of agent loops.

        Raises:
            NTHRConfigError: an unknown option or a bad value.
        """
        options = {str(name): value for name, value in entry.items() if name not in ("name", "_target_")}
        return read_options(cls, options, "igrpo")


def _places(template: Any) -> set[tuple[str, str | None, str | None]]:
    """Parse the braces into (name, format, conversion); empty if ``template`` is not a template."""
    try:
        return {(name, *rest) for _, name, *rest in Formatter().parse(template) if name is not None}
    except (TypeError, ValueError):
        return set()


def check_agent_loops(config: DictConfig) -> Findings:
    """Check a run whose file of agent loops names iGRPO."""
    path = OmegaConf.select(config, LOOPS_FILE, default=None)
    if not path:
        return
    from verl.utils.import_utils import resolve_config_path

    try:
        entries = OmegaConf.to_container(OmegaConf.load(resolve_config_path(path)))
    except (OSError, ValueError, RecursionError, OmegaConfBaseException, YAMLError) as error:
        yield Problem(f"{LOOPS_FILE}={path} cannot be read ({error}); give a file of agent loops")
        return
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        yield Problem(f"{LOOPS_FILE}={path} is not a list of agent loops, each with name and _target_")
        return
    for entry in entries:
        target = str(entry.get("_target_"))
        if target in RENAMED:
            yield Problem(f"{LOOPS_FILE}={path}: _target_={target} is {RENAMED[target]} now")
        if target == TARGET:
            yield from _check_entry(config, entry)


def _check_entry(config: DictConfig, entry: Mapping[str, Any]) -> Findings:
    try:
        DraftOptions.from_entry(entry)
    except ValueError as error:
        yield Problem(error)
    if not OmegaConf.select(config, "trainer.use_v1", default=True):
        yield Problem("trainer.use_v1=False: the legacy trainer spreads a group over processes; set it to True")
    prompt, response = (OmegaConf.select(config, f"data.max_{part}_length") for part in ("prompt", "response"))
    if not isinstance(prompt, int) or not isinstance(response, int) or prompt <= response:
        yield Problem(
            f"data.max_prompt_length={prompt} has no room for a prompt and a draft of data.max_response_length="
            f"{response} tokens; raise it"
        )
    model = OmegaConf.select(config, "reward.reward_model", default=None) or {}
    if model.get("enable") and not model.get("enable_resource_pool"):
        yield Problem(
            "reward.reward_model.enable=True: a colocated reward model cannot judge drafts while responses are "
            "sampled; set reward.reward_model.enable_resource_pool=True, or use a reward function"
        )
    name, default = entry.get("name"), OmegaConf.select(config, DEFAULT_LOOP)
    if default != name:
        yield Caution(
            f"{DEFAULT_LOOP}={default}: only prompts whose agent_name is {name} get drafts; set it to {name} for all "
            "of them"
        )
