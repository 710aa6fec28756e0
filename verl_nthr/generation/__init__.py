"""Responses of a model to the prompts of a verl data file, and their rewards."""
