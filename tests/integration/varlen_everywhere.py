"""For ``actor_rollout_ref.model.external_lib``: what imports it computes attention as on flash attention."""

from tests.integration.varlen_attention import install

install()
