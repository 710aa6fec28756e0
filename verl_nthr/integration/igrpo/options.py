"""The options of iGRPO's agent loop, checked on the driver before Ray starts."""

from __future__ import annotations

import dataclasses
import difflib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from verl_nthr.integration.config.options import NTHRConfigError
from verl_nthr.text import label, quoted

TARGET = "verl_nthr.integration.igrpo.agent_loop.IGRPO"
LOOPS_FILE = "actor_rollout_ref.rollout.agent.agent_loop_config_path"
DEFAULT_LOOP = "actor_rollout_ref.rollout.agent.default_agent_loop"


@dataclass(frozen=True)
class DraftOptions:
    """Options of iGRPO; every field is a key beside ``_target_`` in the file of agent loops.

    Raises:
        ValueError: a bad value, or an option of another type.
    """

    drafts: int = 4
    """Drafts a prompt; ``actor_rollout_ref.rollout.n`` is the number of responses that are trained on."""

    template: str = "{prompt}\n\nA previous attempt:\n{draft}\n\nSolve it again, and improve on this attempt."
    """The last message with the draft in it, from ``{prompt}``, which is that message, and ``{draft}``. The default
    wording is this package's."""

    def __post_init__(self) -> None:
        if isinstance(self.drafts, bool) or not isinstance(self.drafts, int) or self.drafts < 1:
            raise ValueError(f"igrpo: drafts={quoted(self.drafts)}: use a whole number from 1 on")
        if _places(self.template) != {("prompt", "", None), ("draft", "", None)}:
            raise ValueError(
                f"igrpo: template={quoted(self.template)}: use a text with {{prompt}} and {{draft}} in it, "
                "and {{ and }} for other braces"
            )

    def with_draft(self, prompt: str, draft: str) -> str:
        """A message with a draft in it."""
        return self.template.format(prompt=prompt, draft=draft)

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any]) -> DraftOptions:
        """From an entry of the file of agent loops.

        Raises:
            ValueError: an unknown option or a bad value.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        values = {str(name): value for name, value in entry.items() if name not in ("name", "_target_")}
        for name, value in values.items():
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"the options are {', '.join(known)}"
                raise ValueError(f"igrpo: {label(name)}={quoted(value)} is no option; {hint}")
        return cls(**values)


def _places(template: Any) -> set[tuple[str, str | None, str | None]]:
    """What stands between braces: name, format and conversion; empty for what is no template."""
    try:
        return {(name, *rest) for _, name, *rest in Formatter().parse(template) if name is not None}
    except (TypeError, ValueError):
        return set()


def _settings_problems(config: DictConfig) -> Iterator[str]:
    """Why a run cannot show drafts to its prompts, one reason a line."""
    if not OmegaConf.select(config, "trainer.use_v1", default=True):
        yield "trainer.use_v1=False: the legacy trainer spreads a group over processes; set trainer.use_v1=True"
    prompt, response = config.data.max_prompt_length, config.data.max_response_length
    if not isinstance(prompt, int) or not isinstance(response, int) or prompt <= response:
        yield (
            f"data.max_prompt_length={prompt} has no room for a prompt and a draft of data.max_response_length="
            f"{response} tokens; raise it"
        )
    reward_model = config.reward.reward_model
    if reward_model.enable and not reward_model.enable_resource_pool:
        yield (
            "reward.reward_model.enable=True: a colocated reward model judges nothing while responses are sampled; set "
            "reward.reward_model.enable_resource_pool=True, or use a reward function"
        )


def problems(config: DictConfig) -> Iterator[str]:
    """Why a run whose file of agent loops names iGRPO cannot work, one reason a line."""
    path = OmegaConf.select(config, LOOPS_FILE, default=None)
    if not path:
        return
    from verl.utils.import_utils import resolve_config_path

    try:
        entries = OmegaConf.to_container(OmegaConf.load(resolve_config_path(path)))
    except (OSError, ValueError, RecursionError, OmegaConfBaseException, YAMLError) as error:
        yield f"{LOOPS_FILE}={path} cannot be read ({error}); give a file of agent loops"
        return
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        yield f"{LOOPS_FILE}={path} is no list of agent loops, each with name and _target_"
        return
    for entry in entries:
        if entry.get("_target_") != TARGET:
            continue
        try:
            DraftOptions.from_entry(entry)
        except ValueError as error:
            yield str(error)
        yield from _settings_problems(config)
        name, default = entry.get("name"), OmegaConf.select(config, DEFAULT_LOOP)
        if default != name:
            warnings.warn(
                f"{DEFAULT_LOOP}={default}: only prompts whose agent_name is {name} get drafts; set it to {name} for "
                "all of them",
                stacklevel=4,
            )


def check_agent_loops(config: DictConfig) -> None:
    """Check a whole training configuration whose file of agent loops names iGRPO.

    Raises:
        NTHRConfigError: it cannot work so; the message lists every reason.
    """
    found = list(problems(config))
    if found:
        path = OmegaConf.select(config, LOOPS_FILE)
        raise NTHRConfigError(f"{LOOPS_FILE}={path} cannot work:\n" + "\n".join(f"  - {problem}" for problem in found))
