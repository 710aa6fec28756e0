"""Columns of a batch in TransferQueue: the one place that reads and writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensordict import TensorDict
    from torch import Tensor
    from transfer_queue import KVBatchMeta


def read_columns(batch: KVBatchMeta, *names: str) -> TensorDict:
    """Read columns of all rows.

    Raises:
        RuntimeError: a column is missing, because the workers ran without this plugin.
    """
    import transfer_queue as tq

    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=list(names))
    present = set(data.keys())
    missing = [name for name in names if name not in present]
    if missing:
        raise RuntimeError(
            f"the workers returned no {', '.join(missing)}: they ran without verl-nthr. Either verl has not loaded it "
            "there (install it in the environment of the Ray workers, and do not disable it by "
            "VERL_USE_EXTERNAL_PLUGINS), or another plugin has replaced the pass of verl's engines "
            "(BaseEngine.infer_batch): run without that one. `verl-nthr doctor` shows what is loaded in a Ray worker"
        )
    return data


def read_extra_info(batch: KVBatchMeta) -> list[dict[str, Any]]:
    """Read what the reward function returned beside the reward, {} for rows without."""
    import transfer_queue as tq

    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["extra_fields"])
    rows = data.get("extra_fields").tolist() if "extra_fields" in set(data.keys()) else [None] * len(batch)
    return [(row.get("reward_extra_info") or {}) if isinstance(row, dict) else {} for row in rows]


def write_columns(batch: KVBatchMeta, columns: dict[str, Tensor]) -> KVBatchMeta:
    """Write columns of all rows, and return the batch with the names of all columns that it then has."""
    import transfer_queue as tq
    from tensordict import TensorDict

    fields = TensorDict(columns, batch_size=len(batch))
    return tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=fields)
