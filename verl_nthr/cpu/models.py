"""Attention of the trained models: flash attention has no CPU kernel."""

import logging
from typing import Any

logger = logging.getLogger(__name__)


def sdpa_for_flash_attention(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Around ``transformers.PreTrainedModel._check_and_adjust_attn_implementation`` (transformers 5.10.4).

    verl 0.9.1 asks for flash_attention_2 where ``override_config.attn_implementation`` is not set
    (``HFModelConfig``), and always for models with a value head (``load_valuehead_model``).
    """
    requested = kwargs.pop("attn_implementation", args[0] if args else None)
    if isinstance(requested, str) and requested.startswith("flash_attention"):
        logger.warning("%s: %s does not exist on the CPU, using sdpa", type(instance).__name__, requested)
        requested = "sdpa"
    return wrapped(requested, *args[1:], **kwargs)
