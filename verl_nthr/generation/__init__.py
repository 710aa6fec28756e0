"""Responses of a model to the questions of a verl data file, and their rewards."""
