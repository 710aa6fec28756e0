"""iGRPO's options are checked before Ray starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.test_igrpo import LOOPS
from tests.integration.test_options import stock
from verl_nthr.integration.config.nodes import NTHRConfigError
from verl_nthr.integration.config.validation import check_run


def with_loops(folder: Path, text: str) -> str:
    """The setting that gives verl a file of agent loops."""
    (folder / "loops.yaml").write_text(text)
    return f"actor_rollout_ref.rollout.agent.agent_loop_config_path={folder / 'loops.yaml'}"


ROOM = ["data.max_prompt_length=160", "data.max_response_length=8"]


@pytest.mark.parametrize(
    ("options", "overrides", "message"),
    [
        ("drafts: 0", ROOM, "igrpo.drafts=0: use a whole number"),
        ("drafts: 1.5", ROOM, r"drafts=1\.5: use a whole number"),
        ("draft: 2", ROOM, r"igrpo.draft=2.*igrpo.drafts\?"),
        ('template: "{draft}"', ROOM, r"template='\{draft\}': use a text with \{prompt\} and \{draft\} in it"),
        ('template: "{prompt} {draft} {}"', ROOM, r"use a text with .* \{\{ and \}\} for other braces"),
        ('template: "{prompt.__class__} {draft}"', ROOM, r"use a text with \{prompt\} and \{draft\} in it"),
        ('template: "{prompt:>99999999999} {draft}"', ROOM, r"use a text with \{prompt\} and \{draft\} in it"),
        ('template: "{prompt!r} {draft}"', ROOM, r"use a text with \{prompt\} and \{draft\} in it"),
        ("template: 7", ROOM, r"template=7: use a text"),
        ("drafts: ${nothing", ROOM, r"loops\.yaml cannot be read"),
        ("", [*ROOM, "data.max_prompt_length=8"], r"max_prompt_length=8 has no room .*_length=8 tokens; raise it"),
        ("", [*ROOM, "reward.reward_model.enable=True"], r"set reward\.reward_model\.enable_resource_pool=True"),
        ("", [*ROOM, "trainer.use_v1=False"], r"trainer\.use_v1=False: the legacy trainer spreads a group"),
    ],
)
def test_what_cannot_work_is_refused_before_ray_starts(
    tmp_path: Path, options: str, overrides: list[str], message: str
) -> None:
    loops = with_loops(tmp_path, LOOPS.read_text() + f"  {options}\n")
    with pytest.raises(NTHRConfigError, match=message):
        check_run(stock(loops, *overrides))


@pytest.mark.parametrize("text", ["7", "a: b", "[x]", "- [", "[" * 5000, "- \x00"])
def test_other_files_are_no_agent_loops(tmp_path: Path, text: str) -> None:
    with pytest.raises(NTHRConfigError, match=r"loops\.yaml (cannot be read|is not a list of agent loops)"):
        check_run(stock(with_loops(tmp_path, text), *ROOM))


def test_what_works_is_not_refused(tmp_path: Path) -> None:
    separate = ["reward.reward_model.enable=True", "reward.reward_model.enable_resource_pool=True"]
    template = '  drafts: 1\n  template: "{prompt} {{}} {draft}"\n'
    check_run(stock(with_loops(tmp_path, LOOPS.read_text() + template), *ROOM, *separate))
    check_run(stock(f"actor_rollout_ref.rollout.agent.agent_loop_config_path={LOOPS}", *ROOM))
    others = "- name: others\n  _target_: others.Loop\n  drafts: 0\n"
    check_run(stock(with_loops(tmp_path, others), "data.max_prompt_length=8"))
    check_run(stock("data.max_prompt_length=8"))


def test_verls_validation_includes_it(tmp_path: Path) -> None:
    from verl.utils.config import validate_config

    config = stock(with_loops(tmp_path, LOOPS.read_text() + "  drafts: 0\n"), *ROOM)
    with pytest.raises(NTHRConfigError, match="drafts=0"):
        validate_config(config, use_reference_policy=False, use_critic=False)
