"""Stock training runs of the family, on the CPU platform."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from tests.integration.dumps import load_model, read_lines, scored_batch
from tests.integration.runs import BETA, TEMPERATURE, actor, train
from tests.toy import make_toy
from verl_nthr import thr_weights_reference

RHO = -0.2


@pytest.mark.slow
@pytest.mark.covers("training: THR on NGRPO")
@pytest.mark.timeout(900)
def test_thr_on_ngrpo_in_a_training_run(tmp_path: Path) -> None:
    toy, dumps = make_toy(tmp_path / "toy"), tmp_path / "tokens"
    settings = [
        "algorithm.adv_estimator=thr",
        "+algorithm.nthr.base=ngrpo",
        f"+algorithm.nthr.beta={BETA}",
        f"+algorithm.thr.rho={RHO}",
        f"+algorithm.nthr.token_dump_dir={dumps}",
        "actor_rollout_ref.actor.clip_ratio_low=0.16",
        "actor_rollout_ref.actor.clip_ratio_high=0.24",
        "actor_rollout_ref.actor.clip_ratio_c=1e9",
    ]
    metrics = train(toy, tmp_path, settings)
    tokenizer = AutoTokenizer.from_pretrained(toy.model)
    for step in (1, 2):
        records = read_lines(dumps / f"{step}.jsonl")
        model = load_model(toy.model if step == 1 else actor(tmp_path, 1) / "huggingface")
        batch = scored_batch(records, model, tokenizer)
        expected = thr_weights_reference(*batch.arguments, temperature=TEMPERATURE, beta=BETA, rho=RHO)
        kinds = set()
        for record, places in zip(records, batch.places, strict=True):
            for place, score, weight in zip(places, record["scores"], record["weights"], strict=True):
                if score is None or place < 0:
                    assert weight == 1.0
                    continue
                thr = float(expected.scores[place])
                assert score * (1 if record["correct"] else -1) == pytest.approx(thr, rel=1e-3, abs=1e-4)
                if abs(abs(thr) - max(record["tau"], 0.0)) > 1e-3:
                    assert weight == pytest.approx(float(expected.weight[place]), abs=1e-6)
                    kinds.add(round(weight, 3))
        assert kinds == {0.0, 1 + RHO, 1 - RHO}
        check_ngrpo([(r["uid"], r["reward"], r["advantage"]) for r in records])
        weighted = [w * r["advantage"] for r in records for w, m in zip(r["weights"], r["mask"], strict=True) if m]
        assert metrics[step - 1]["critic/advantages/mean"] == pytest.approx(np.mean(weighted), abs=1e-5)


def check_ngrpo(rows: list[tuple[str, float, float]]) -> None:
    """(uid, reward, advantage) of every response, against NGRPO in numpy; raises an AssertionError."""
    for uid in {uid for uid, _, _ in rows}:
        rewards = np.array([reward for other, reward, _ in rows if other == uid])
        found = [advantage for other, _, advantage in rows if other == uid]
        calibrated = np.append(rewards, 1.0)
        expected = (rewards - calibrated.mean()) / (calibrated.std(ddof=1) + 1e-6)
        assert found == pytest.approx(expected.tolist(), abs=1e-4)
