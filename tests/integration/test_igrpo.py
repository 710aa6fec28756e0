"""iGRPO: a group shares its best draft, in verl's own agent loops and in a real run."""

from __future__ import annotations

import asyncio
import gc
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf
from transformers import AutoTokenizer

from tests.integration.dumps import check_advantages, check_weights, load_model, read_lines
from tests.integration.runs import nthr, train
from tests.integration.test_options import stock
from tests.toy import make_tokenizer, make_toy

LOOPS = Path(__file__).parents[2] / "verl_nthr" / "config" / "igrpo.yaml"
PROMPT_LENGTH, RESPONSE_LENGTH = 160, 8
DRAFTS, RESPONSES = 4, 5
TEMPLATE = "{prompt} D:{draft}:D"


class Servers:
    """Stands in for verl's client of the rollout servers: answers 000000, 000001, … in the order of the questions."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.prompts: list[str] = []

    async def generate(self, *, prompt_ids: list[int], **_: Any) -> Any:
        from verl.workers.rollout.replica import TokenOutput

        self.prompts.append(self.tokenizer.decode(prompt_ids, skip_special_tokens=True))
        answer = f"{len(self.prompts) - 1:06d}"
        await asyncio.sleep(0)
        return TokenOutput(token_ids=self.tokenizer(answer).input_ids, log_probs=[0.0] * 6, num_preempted=0)


class RewardWorkers:
    """Stands in for Ray's directory of verl's reward workers: runs verl's own in this process."""

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self.names: list[str] = []

    def get_actor(self, name: str) -> Any:
        from verl.experimental.reward_loop.reward_loop import RewardLoopWorker

        self.names.append(name)
        # it keeps the event loop that it was made in
        return SimpleNamespace(compute_score=SimpleNamespace(remote=RewardLoopWorker(self.config).compute_score))


REWARD = """
def compute_score(data_source, solution_str, ground_truth, extra_info=None, **_):
    assert ground_truth == "10" and extra_info["index"] == 7
    if extra_info.get("fails"):
        raise RuntimeError("no reward")
    bad = extra_info.get("bad", {}).get(int(solution_str))
    return {"score": -abs(int(solution_str) - extra_info["best"]) if bad is None else float(bad), "acc": 0.0}
"""


@pytest.fixture
def config(tmp_path: Path) -> DictConfig:
    make_toy(tmp_path / "toy")
    (tmp_path / "reward.py").write_text(REWARD)
    return stock(
        f"actor_rollout_ref.model.path={tmp_path / 'toy' / 'model'}",
        *[f"data.max_prompt_length={PROMPT_LENGTH}", f"data.max_response_length={RESPONSE_LENGTH}"],
        *[f"reward.custom_reward_function.path={tmp_path / 'reward.py'}", "reward.num_workers=3"],
    )


@pytest.fixture
def rewards(config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> RewardWorkers:
    import ray

    workers = RewardWorkers(config)
    monkeypatch.setattr(ray, "get_actor", workers.get_actor)
    return workers


def make_loop(config: DictConfig, servers: Servers, **options: Any) -> Any:
    """The agent loop of one session, made as verl makes it."""
    import hydra
    from verl.experimental.agent_loop.agent_loop import DictConfigWrap
    from verl.utils.dataset.rl_dataset import RLHFDataset

    (entry,) = OmegaConf.load(LOOPS)
    return hydra.utils.instantiate(
        config=OmegaConf.merge(entry, options),
        trainer_config=DictConfigWrap(config=config),
        server_manager=servers,
        tokenizer=servers.tokenizer,
        processor=None,
        dataset_cls=RLHFDataset,
        data_config=DictConfigWrap(config.data),
    )


def columns(uid: str, best: int, **extra: Any) -> dict[str, Any]:
    return {
        "uid": uid,
        "raw_prompt": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": f"sum of {uid}?"}],
        "data_source": "toy",
        "reward_model": {"ground_truth": "10"},
        "extra_info": {"index": 7, "best": best} | extra,
    }


async def run_group(config: DictConfig, servers: Servers, rows: list[dict[str, Any]], **options: Any) -> list[Any]:
    """The outputs, or errors, of :data:`RESPONSES` sessions a row, all in one event loop."""
    sessions = [
        make_loop(config, servers, **options).run({}, session_id=session, **row)
        for row in rows
        for session in range(RESPONSES)
    ]
    return await asyncio.gather(*sessions, return_exceptions=True)


@pytest.mark.covers("trainer: iGRPO's agent loop")
def test_a_group_shares_the_best_of_its_drafts(config: DictConfig, rewards: RewardWorkers) -> None:
    from verl_nthr.integration.igrpo import agent_loop

    servers = Servers(make_tokenizer())
    rows = [columns("a", best=1000), columns("b", best=-1)]
    outputs = asyncio.run(run_group(config, servers, rows, drafts=DRAFTS, template=TEMPLATE))
    assert len(servers.prompts) == 2 * (DRAFTS + RESPONSES)
    assert len(rewards.names) == 2 * DRAFTS
    assert set(rewards.names) <= {f"reward_loop_worker_{i}" for i in range(3)}
    for group, (uid, best) in enumerate((("a", max), ("b", min))):
        asked = [number for number, prompt in enumerate(servers.prompts) if f"sum of {uid}?" in prompt]
        drafts = [number for number in asked if "D:" not in servers.prompts[number]]
        assert len(drafts) == DRAFTS
        of_group = outputs[group * RESPONSES :][:RESPONSES]
        (prompt,) = {servers.tokenizer.decode(output.prompt_ids, skip_special_tokens=True) for output in of_group}
        assert f"sum of {uid}? D:{best(drafts):06d}:D" in prompt
        assert "Be brief" in prompt
        answers = [int(servers.tokenizer.decode(output.response_ids)) for output in of_group]
        assert sorted(answers) == sorted(set(asked) - set(drafts))
        assert all(sum(output.response_mask) == 6 for output in of_group)
    # the data set's row is not changed: the reward of the response sees the question
    assert rows[0]["raw_prompt"][-1]["content"] == "sum of a?"
    gc.collect()
    assert not agent_loop._best_drafts


def test_a_draft_without_reward_fails_its_whole_group_and_no_other(config: DictConfig, rewards: RewardWorkers) -> None:
    rows = [columns("a", best=2, fails=True), columns("b", best=5)]
    outputs = asyncio.run(run_group(config, Servers(make_tokenizer()), rows))
    assert [str(output) for output in outputs[:RESPONSES]] == ["no reward"] * RESPONSES
    assert not any(isinstance(output, Exception) for output in outputs[RESPONSES:])


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf"])
def test_a_draft_whose_reward_is_not_finite_is_not_the_best(
    config: DictConfig, rewards: RewardWorkers, bad: str
) -> None:
    servers = Servers(make_tokenizer())
    row = columns("a", best=0, bad={0: bad, 2: bad})
    with pytest.warns(UserWarning, match="igrpo: the reward of 2 of 4 drafts of a prompt is nan or infinite"):
        asyncio.run(run_group(config, servers, [row], drafts=DRAFTS, template=TEMPLATE))
    assert all("D:000001:D" in prompt for prompt in servers.prompts[DRAFTS:])


def test_a_prompt_that_would_be_cut_is_refused(config: DictConfig, rewards: RewardWorkers) -> None:
    template = TEMPLATE + "x" * PROMPT_LENGTH
    outputs = asyncio.run(run_group(config, Servers(make_tokenizer()), [columns("a", best=2)], template=template))
    for output in outputs:
        with pytest.raises(ValueError, match=r"a prompt has \d+ tokens, .* more than data\.max_prompt_length=160; "):
            raise output


def test_prompts_with_images_are_refused(config: DictConfig, rewards: RewardWorkers) -> None:
    from verl_nthr.integration.igrpo.agent_loop import IGRPO

    loop: IGRPO = make_loop(config, Servers(make_tokenizer()))
    with pytest.raises(ValueError, match="images, videos or audio"):
        loop._with_draft([{"role": "user", "content": [{"type": "image"}]}], "draft")


LOGGED_REWARD = """
import json
import os

def compute_score(data_source, solution_str, ground_truth, extra_info=None, **_):
    score = sum(character.isdigit() for character in solution_str) / max(1, len(solution_str))
    line = json.dumps({"index": extra_info["index"], "text": solution_str, "score": score}) + "\\n"
    log = os.open("LOG", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, line.encode())
    os.close(log)
    return score
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.covers("training: iGRPO")
def test_a_run_trains_on_responses_to_the_best_drafts_and_validates_without(tmp_path: Path) -> None:
    toy = make_toy(tmp_path / "toy")
    reward, log, loops = tmp_path / "reward.py", tmp_path / "rewards.jsonl", tmp_path / "loops.yaml"
    reward.write_text(LOGGED_REWARD.replace("LOG", str(log)))
    loops.write_text(LOOPS.read_text() + f'  template: "{TEMPLATE}"\n')
    validation = pd.read_parquet(toy.test)
    validation["agent_name"] = "single_turn_agent"
    validation.to_parquet(toy.test)
    train(
        toy,
        tmp_path,
        [
            *nthr(tmp_path),
            f"actor_rollout_ref.rollout.agent.agent_loop_config_path={loops}",
            "actor_rollout_ref.rollout.agent.default_agent_loop=igrpo",
            *[f"data.max_prompt_length={PROMPT_LENGTH}", "actor_rollout_ref.rollout.max_model_len=200"],
            *["trainer.test_freq=1", f"trainer.validation_data_dir={tmp_path / 'validation'}"],
            f"reward.custom_reward_function.path={reward}",
        ],
        steps=1,
    )
    rows = read_lines(tmp_path / "rollouts" / "1.jsonl")
    judged = read_lines(log)
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["uid"].split("_")[0], []).append(row)
    assert [len(group) for group in groups.values()] == [RESPONSES] * 6
    for group in groups.values():
        (prompt,) = {row["input"] for row in group}
        left = re.search(r"(\d+)\+\d+=\?", prompt)
        assert left is not None
        of_question = [line for line in judged if 3 * line["index"] == int(left[1])]
        # a question is drawn once, its drafts are judged before its responses, and it is 3·index + 7·index
        drafts, responses = of_question[:DRAFTS], of_question[DRAFTS:]
        assert sorted(row["output"] for row in group) == sorted(line["text"] for line in responses)
        highest = max(line["score"] for line in drafts)
        assert any(f" D:{line['text']}:D" in prompt for line in drafts if line["score"] == highest)
    # 8 questions were validated on, and drafted for none of them
    validated = read_lines(tmp_path / "validation" / "1.jsonl")
    assert len(validated) == 8
    assert not any("D:" in row["input"] for row in validated)
    assert len(judged) == 6 * (DRAFTS + RESPONSES) + 8

    records = read_lines(tmp_path / "1.jsonl")
    check_weights(records, load_model(toy.model), AutoTokenizer.from_pretrained(toy.model))
    check_advantages(records, [record["reward"] for record in records])
    assert all(":D" in record["prompt"] for record in records)
