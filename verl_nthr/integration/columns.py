"""Columns of a batch in TransferQueue."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensordict import TensorDict
    from transfer_queue import KVBatchMeta


CORRECT = "nthr_correct"
"""Column [B] bool: whether the row's response is correct; False for padding rows."""


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
