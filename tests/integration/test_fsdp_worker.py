"""verl's own worker: its old-log-prob pass is scored, its reference pass, LoRA's model without the adapter, is not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.integration.coverage import covers
from tests.integration.fsdp import configs
from tests.integration.passes import Case, answers_of, make_data, make_rows, request_of
from tests.integration.references import check_log_probs, check_scores
from tests.processes import run_ranks

ROWS = make_rows(0, vocab_size=70)
ADAPTED = Case("fsdp2", packed=True, dynamic=True, adapter="linear")
BASE = Case("fsdp2", packed=True, dynamic=True)


def run_both_passes(rank: int, models: str) -> dict[str, Any]:
    """The answers of the old-log-prob pass and the columns of two reference passes, as one worker gives them."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    from verl.utils import tensordict_utils as tu
    from verl.workers.config import TrainingWorkerConfig
    from verl.workers.engine_workers import TrainingWorker

    worker = TrainingWorker(TrainingWorkerConfig(model_type="language_model", **configs(models, ADAPTED)))
    worker.reset()
    mine = list(range(len(ROWS.group)))

    def columns(data: Any, *, no_lora_adapter: bool) -> dict[str, Any]:
        tu.assign_non_tensor(data, compute_loss=False, no_lora_adapter=no_lora_adapter)
        return {key: value for key, value in worker.infer_batch(data).items() if key != "metrics"}

    scored = make_data(ROWS, mine, ADAPTED, request=request_of(ADAPTED))
    old = columns(scored, no_lora_adapter=False)
    references = {
        "its own batch": columns(make_data(ROWS, mine, ADAPTED), no_lora_adapter=True),
        "the batch that was scored": columns(scored, no_lora_adapter=True),
    }
    return {
        "old": answers_of(mine, old),
        "references": {
            name: {"columns": sorted(found), "log_probs": [x.tolist() for x in found["log_probs"].unbind()]}
            for name, found in references.items()
        },
        "mine": mine,
    }


@covers(ADAPTED)
def test_only_the_pass_with_the_adapter_is_scored(models: Path) -> None:
    (found,) = run_ranks(run_both_passes, 1, str(models), timeout=200)
    if isinstance(found, Exception):
        raise found
    check_log_probs([found["old"]], models, ROWS, ADAPTED)
    check_scores([found["old"]], models, ROWS, ADAPTED)
    for reference in found["references"].values():
        assert reference["columns"] == ["entropy", "log_probs"]
        check_log_probs([reference | {"mine": found["mine"]}], models, ROWS, BASE)
