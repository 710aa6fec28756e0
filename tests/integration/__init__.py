"""verl's real FSDP engines, trainer and configuration; one training by stock main_ppo."""
