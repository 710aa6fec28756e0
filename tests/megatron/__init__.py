"""verl's real Megatron engine against Hugging Face."""
